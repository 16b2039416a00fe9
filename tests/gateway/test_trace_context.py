from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.trace_context import (
    TraceParent,
    in_lines,
    retold,
    retold_lines,
    trace_parent,
    trace_parent_of,
)

TRACE: Final = "0af7651916cd43dd8448eb211c80319c"
PARENT: Final = "b7ad6b7169203331"
GOOD: Final = f"00-{TRACE}-{PARENT}-01".encode()
NEW: Final = b"00-11111111111111111111111111111111-2222222222222222-01"


def test_the_callers_trace_is_read() -> None:
    """Version 00, and later ones that say more."""
    assert trace_parent([GOOD]) == TraceParent(TRACE, PARENT, 1)
    assert trace_parent([b"01" + GOOD[2:] + b"-more"]) == TraceParent(TRACE, PARENT, 1)
    assert trace_parent_of([(b"x", b"1"), (b"traceparent", GOOD)]) == TraceParent(TRACE, PARENT, 1)
    for flags, sampled in ((b"00", False), (b"01", True), (b"fe", False), (b"ff", True)):
        parent = trace_parent([GOOD[:-2] + flags])
        assert parent is not None
        assert parent.sampled is sampled


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"00-xyz",
        GOOD[:-1],
        GOOD.upper(),
        GOOD + b"-more",
        b"ff" + GOOD[2:],
        GOOD.replace(TRACE.encode(), b"0" * 32),
        GOOD.replace(PARENT.encode(), b"0" * 16),
    ],
)
def test_what_is_no_parent_is_none(value: bytes) -> None:
    """As the recommendation says; then a trace begins here."""
    assert trace_parent([value]) is None


def test_two_parents_are_none() -> None:
    """Nobody can say which of them it is."""
    assert trace_parent([GOOD, GOOD]) is None
    assert trace_parent([]) is None


@given(st.binary(max_size=70))
def test_anything_can_be_read(value: bytes) -> None:
    """Strangers send it."""
    parent = trace_parent([value])
    assert parent is None or value.split(b"-")[1].decode() == parent.trace_id


names = st.sampled_from([b"traceparent", b"tracestate", b"x-a", b"baggage"])
values = st.sampled_from([GOOD, b"a=1", b"", b"traceparent: x"])


@given(st.lists(st.tuples(names, values), max_size=6), st.booleans(), st.booleans())
def test_both_shells_say_it_alike(
    headers: list[tuple[bytes, bytes]], sized: bool, keeps_state: bool
) -> None:
    """The lines of one and the fields of the other hold the same; nothing else is touched."""
    ours = b"x-customer-id: c\r\n" + (b"content-length: " if sized else b"")
    lines = b"\r\n" + b"".join(b"%b: %b\r\n" % each for each in headers) + ours
    said = [value for name, value in headers if name == b"traceparent"]
    assert in_lines(lines) == said
    new = retold_lines(lines, NEW, keeps_state=keeps_state)
    fields = retold(headers, NEW, keeps_state=keeps_state)
    assert new.startswith(b"\r\n")
    assert new.endswith(b"\r\n" + ours)
    passed = new.removesuffix(ours).split(b"\r\n")[1:-1]
    assert sorted(passed) == sorted(b"%b: %b" % each for each in fields)
    assert in_lines(new) == [NEW]
