"""YAML as the configuration takes it."""

from contextlib import suppress

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tallygate.config_errors import ConfigInvalid
from tallygate.config_yaml import read_yaml

SCALARS = st.none() | st.booleans() | st.integers() | st.text(max_size=8)
TREES = st.recursive(
    SCALARS, lambda t: st.lists(t, max_size=3) | st.dictionaries(st.text(max_size=5), t, max_size=3)
)


@given(TREES)
def test_what_yaml_writes_is_read_back(tree: object) -> None:
    """Plain YAML means what safe_load makes of it."""
    text = yaml.safe_dump(tree)
    assert read_yaml(text) == yaml.safe_load(text)


@pytest.mark.parametrize(
    "text",
    ["key: ${NAME}", "{key: ${NAME}}", "key: '${NAME}'", 'key: "${NAME}"', "{key: ${NAME}, a: b}"],
)
def test_references_need_no_quotes(text: str) -> None:
    """The braces of a reference are not YAML's, in flow style neither."""
    assert read_yaml(text)["key"] == "${NAME}"


def test_a_duplicate_key_is_refused_with_both_lines() -> None:
    """Nothing is silently overwritten."""
    with pytest.raises(
        ConfigInvalid, match=r"line 3, column 3: .*'b' appears twice, first on line 2"
    ):
        read_yaml("a:\n  b: 1\n  b: 2\n")


def test_aliases_are_refused() -> None:
    """A small file cannot become a large tree."""
    with pytest.raises(ConfigInvalid, match=r"line 2, column 5: .*aliases"):
        read_yaml("a: &a [1]\nb: [*a]\n")


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("a: [1\nb: 2", "line 2, column 2"),
        ("a: b: c", "line 1, column 5"),
        ("{a: ${NAME}, b: ]", "line 1, column 17"),
        ("ok: 1\nday: 2026-99-99", "line 2, column 6"),
        ("a: !!bool maybe", "line 1, column 4"),
        ("a: !!python/object:os.system x", "line 1, column 4"),
        ("a: 1\n---\nb: 2", "line 2, column 1"),
        ("? [a]\n: b", "line 1, column 3"),
        ("a: 1\nb: \x00", "line 2, column 4"),
    ],
)
def test_errors_say_line_and_column(text: str, where: str) -> None:
    """Broken YAML is one line that leads to the spot."""
    with pytest.raises(ConfigInvalid) as caught:
        read_yaml(text)
    assert where in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_bottomless_file_is_refused() -> None:
    """Deep nesting ends as an error, not as a crash."""
    with pytest.raises(ConfigInvalid, match="too deeply"):
        read_yaml("[" * 5000)


@given(st.text(alphabet="ab:-[]{}#&*!|>'\"%@`$,\n ?0", max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Only ConfigInvalid escapes."""
    with suppress(ConfigInvalid):
        read_yaml(text)
