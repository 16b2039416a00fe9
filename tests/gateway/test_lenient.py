"""JSON from outside never raises."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import lenient


@pytest.mark.parametrize(
    "document",
    [b"", b"nul", b"[1]", b'"text"', b"{", b'{"a":NaN}', b'{"\xff":1}', b"[" * 1_000_000, b'{"a":' * 100_000],
    ids=lambda document: repr(document[:12]),
)  # fmt: skip
def test_what_is_no_object_is_none(document: bytes) -> None:
    """Broken, foreign and bottomless documents are none."""
    assert lenient.members(document) is None


def test_values_stay_as_they_stand() -> None:
    """The members keep their order and their bytes."""
    members = lenient.members(b'{"b": {"x" :1.0}, "a" : [ 2]}')
    assert members is not None
    assert [(k, bytes(v)) for k, v in members.items()] == [("b", b'{"x" :1.0}'), ("a", b"[ 2]")]


def test_a_path_leads_through_objects() -> None:
    """A quantity is found where the keys lead, and nowhere else."""
    document = b'{"usage": {"pages": 12, "list": [3]}, "n": 4}'
    assert lenient.quantity_at(document, ("usage", "pages")) == 12
    assert lenient.quantity_at(document, ("n",)) == 4
    assert lenient.quantity_at(document, ("usage", "words")) is None
    assert lenient.quantity_at(document, ("n", "m")) is None
    assert lenient.quantity_at(document, ("usage", "list")) is None


@given(st.binary() | st.from_regex(rb"[-0-9eE.]{1,400}", fullmatch=True))
def test_any_bytes_are_a_quantity_or_none(data: bytes) -> None:
    """No bytes make the reader raise or answer with anything but a count."""
    value = lenient.quantity(data)
    assert value is None or (type(value) is int and value >= 0)
