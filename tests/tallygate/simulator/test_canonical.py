"""Canonical JSON."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallygate.simulator.canonical import canonical, is_canonical, strict_loads

SCALARS = st.none() | st.booleans() | st.integers() | st.text()
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20
)


def test_keys_ascend_at_every_level_and_nulls_go():
    """The order is natural, nothing is escaped that need not be."""
    value = {"b": [{"d": 1, "c": "ü/"}], "a": None, "B": True}
    assert canonical(value) == '{"B":true,"b":[{"c":"ü/","d":1}]}'


@given(VALUES)
def test_canonical_is_canonical(value):
    """What `canonical` writes, `is_canonical` accepts, and it reads back without the nulls."""
    text = canonical(value)
    assert is_canonical(text.encode())
    assert canonical(json.loads(text)) == text


@pytest.mark.parametrize("text", ['{"a":1.50}', '{"a":1e3}', "[]", '"é"', '{"a":[0.0001]}'])
def test_numbers_keep_their_digits(text):
    """A number is compared as it was written."""
    assert is_canonical(text.encode())


@pytest.mark.parametrize(
    "text",
    [
        '{"b":1,"a":2}',
        '{"a": 1}',
        '{"a":1}\n',
        '{"a":null}',
        '"\\u00e9"',
        "{",
        "NaN",
        '{"a":1,"a":1}',
    ],
)
def test_not_canonical(text):
    """Another order, spaces, nulls, needless escapes, and what is no JSON."""
    assert not is_canonical(text.encode())


def test_deep_nesting_is_refused():
    """Nesting beyond reason is not canonical, and no crash."""
    assert not is_canonical(b"[" * 100_000)


@pytest.mark.parametrize(
    ("text", "reason"),
    [("NaN", "NaN"), ("[-Infinity]", "-Infinity"), ('{"a":1,"a":2}', "twice")],
)
def test_strict_loads_refuses(text, reason):
    """Constants that are no JSON and doubled keys are errors."""
    with pytest.raises(ValueError, match=reason):
        strict_loads(text.encode(), number=int)
