"""Quantities become the usage that KooGallery reads."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.normal_usage import counts_of, rewritten
from metering.usage import Quantity


def counts(**tokens: int) -> dict[str, int]:
    """What these quantities amount to."""
    return counts_of({f"tokens_{name}": Quantity(value) for name, value in tokens.items()})


def test_all_three_are_said() -> None:
    """By their names in the specification."""
    wanted = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
    assert counts(**{"in": 3, "out": 4, "total": 7}) == wanted


def test_an_embedding_made_nothing() -> None:
    """So its output is zero; where the total says otherwise nobody knows it."""
    wanted = {"prompt_tokens": 3, "completion_tokens": 0, "total_tokens": 3}
    assert counts(**{"in": 3, "total": 3}) == wanted
    assert counts(**{"in": 3}) == wanted
    assert counts(**{"in": 3, "total": 5}) == {"prompt_tokens": 3, "total_tokens": 5}


def test_what_is_not_known_is_not_said() -> None:
    """Never a zero that nobody reported."""
    assert counts() == {}
    assert counts(total=7) == {"total_tokens": 7}
    assert counts(out=7) == {"completion_tokens": 7}


THREE = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}


@pytest.mark.parametrize(
    "body",
    [
        b'{"usage": {"prompt_tokens" :3,"completion_tokens":4, "total_tokens":7, "x": 1}}',
        b"[]",
        b"not json",
        b"",
        b'{"\xff":1}',
    ],
)
def test_what_says_so_stays_as_it_is(body: bytes) -> None:
    """Byte for byte; and so does what is no object."""
    assert rewritten(body, THREE) is body
    assert rewritten(b"{}", {}) == b"{}"


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        (b'{"a": 1.0}', b'{"a":1.0,"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}}'),
        (b'{"usage": null, "a": [ 1]}', b'{"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7},"a":[ 1]}'),
        (b'{"usage":{"input_tokens":1,"total_tokens":"7"}}', b'{"usage":{"input_tokens":1,"total_tokens":7,"prompt_tokens":3,"completion_tokens":4}}'),
        (b'{"usage":[7]}', b'{"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}}'),
    ],
)  # fmt: skip
def test_usage_is_completed(body: bytes, wanted: bytes) -> None:
    """What else stands there keeps its bytes and its order."""
    assert rewritten(body, THREE) == wanted


@given(st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5), max_size=5))
def test_nothing_else_changes(document: dict[str, object]) -> None:
    """Whatever a reply says besides."""
    changed = json.loads(rewritten(json.dumps(document).encode(), THREE))
    assert changed.pop("usage") == THREE
    document.pop("usage", None)
    assert changed == document
