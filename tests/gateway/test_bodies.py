"""Readers pass on what they read, and hold what they hold within bounds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.bodies import MAX_EVENT, MAX_HELD, EventStream, StrippedStream
from gateway.json_bodies import MAX_JSON, JsonBody
from gateway.readings import Path, Readings
from gateway.unpacking import Unreadable
from metering.usage import Grade, Quantity

USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":5}}\n\n'


def readings(**paths: Path) -> Readings:
    """Nothing read yet."""
    return Readings("auto", paths)


def test_json_is_collected_up_to_its_bound() -> None:
    """A body at the bound is read, one byte more is refused."""
    seen = readings()
    head, tail = b'{"usage":{"prompt_tokens":5},"x":"', b'"}'
    body = JsonBody(seen)
    body.feed(head)
    body.feed(b"x" * (MAX_JSON - len(head) - len(tail)))
    body.feed(tail)
    body.finish()
    assert seen.quantities(complete=True)["tokens_in"].value == 5
    with pytest.raises(Unreadable):
        JsonBody(seen).feed(b"x" * (MAX_JSON + 1))


def test_json_may_start_with_a_byte_order_mark() -> None:
    """As some servers on Windows send it."""
    seen = readings()
    body = JsonBody(seen)
    body.feed(b'\xef\xbb\xbf{"usage":{"prompt_tokens":5}}')
    body.finish()
    assert seen.quantities(complete=True)["tokens_in"].value == 5


def test_events_of_custom_paths_are_read() -> None:
    """An event is decoded for a path's last key too."""
    seen = readings(pages=Path(("progress", "pages")))
    stream = EventStream(seen, ["pages"])
    stream.feed(b'data: {"progress":{"pages":2}}\n\ndata: {"x":1}\n\n')
    assert seen.quantities(complete=True)["pages"].value == 2


def test_a_large_event_is_read() -> None:
    """response.completed may repeat an image of a megabyte."""
    seen = readings()
    stream = EventStream(seen, [])
    stream.feed(b'data: {"response":{"image":"' + b"x" * 4_000_000)
    stream.feed(b'","usage":{"input_tokens":5}}}\n\n')
    assert seen.quantities(complete=True)["tokens_in"].value == 5
    assert MAX_EVENT > 4_000_000


def test_a_stream_with_injection_holds_back_one_event() -> None:
    """Whole events leave at once; of the one in progress nothing does."""
    stream = StrippedStream(readings(), [])
    assert stream.feed(b'data: {"a":1}\n\ndata: {"b') == b'data: {"a":1}\n\n'
    assert stream.feed(b'":2}\n') == b""
    assert stream.feed(b"\n") == b'data: {"b":2}\n\n'
    assert stream.feed(b"data: 3") == b""
    assert stream.finish() == b"data: 3"


def test_the_other_half_of_a_dropped_line_end_is_dropped() -> None:
    """A carriage return at a chunk's edge may have its line feed still to come."""
    crlf = USAGE.replace(b"\n", b"\r\n")
    stream = StrippedStream(readings(), [])
    assert stream.feed(crlf[:-1]) == b""
    assert stream.feed(b"\ndata: [DONE]\r\n\r\n") == b"data: [DONE]\r\n\r\n"
    stream = StrippedStream(readings(), [])
    assert stream.feed(crlf[:-1] + b"\n\n") == b"\n"


def test_an_event_too_large_to_hold_passes_and_the_next_is_stripped() -> None:
    """Past the bound bytes flow on; the stream is not spoilt."""
    seen = readings()
    stream = StrippedStream(seen, [])
    large = b"data: " + b"x" * MAX_HELD
    assert stream.feed(large) == large
    assert stream.feed(b"yz") in (b"yz", b"")
    assert stream.feed(b"\n\n" + USAGE).endswith(b"\n\n")
    assert stream.finish() == b""
    assert seen.quantities(complete=False)["tokens_in"].value == 5


def test_an_announcement_without_usage_is_heard() -> None:
    """Chunks that say of usage only that there is none are passed over, but not this one."""
    seen = readings()
    stream = EventStream(seen, [])
    stream.feed(b'data: {"type":"message_start","message":{"usage":null}}\n\n')
    stream.feed(b'data: {"choices":[{}],"usage":null}\n\n')
    stream.feed(b'data: {"usage":{"output_tokens":1}}\n\n')
    assert seen.quantities(complete=True)["tokens_out"] == Quantity(1, Grade.PARTIAL)


def test_whole_events_leave_a_stream_with_injection_at_once() -> None:
    """Also behind one that was held back, and with the line feed of a line that ended before."""
    stream = StrippedStream(readings(), [])
    null = b'data: {"a":1,"usage":null}\n\n'
    assert stream.feed(null) == b'data: {"a":1}\n\n'
    assert stream.feed(b'data: {"b"') == b""
    assert stream.feed(b':2,"usage":null}\n\n') == b'data: {"b":2}\n\n'
    assert stream.feed(null + null) == b'data: {"a":1}\n\n' * 2
    assert stream.feed(USAGE.replace(b"\n", b"\r\n")[:-1]) == b""
    assert stream.feed(b"\n" + null) == b'data: {"a":1}\n\n'


LINES = st.sampled_from(
    [
        b'data: {"choices":[{"delta":{"content":"x"}}],"usage":null}\n\n',
        b'data: {"choices":[{}]}\n\n',
        b'data: {"choices":[{}],"usage":null}\r\n\r\n',
        b'data: {"type":"message_start","message":{},"usage":null}\n\n',
        b'data:{"choices":[1],"usage":null}\n\n',
        b'data: {"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}}\n\n',
        b'event: a\ndata: {"choices":[1],"usage":null}\n\n',
        b'data: {"choices":[1]\ndata: ,"usage":null}\n\n',
        b'data: {"type":"message_stop"}\n\n',
        b"data: [DONE]\n\n",
        b": comment\n\n",
        b"\n\n",
        b"\n",
        b"\r",
        b"\xef\xbb\xbf",
        b'data: {"half',
    ]
)


@pytest.mark.parametrize("reader", [EventStream, StrippedStream])
@given(st.lists(st.lists(LINES, max_size=4), max_size=6))
def test_chunks_of_whole_events_are_read_as_byte_by_byte(
    reader: type[EventStream | StrippedStream], chunks: list[list[bytes]]
) -> None:
    """The short ways for usual chunks change neither what is read nor what goes on."""
    seen, expected = readings(), readings()
    quick, slow = reader(seen, []), reader(expected, [])
    stream = b"".join([b"".join(chunk) for chunk in chunks])
    got = b"".join([quick.feed(b"".join(chunk)) for chunk in chunks]) + quick.finish()
    want = b"".join([slow.feed(stream[at : at + 1]) for at in range(len(stream))]) + slow.finish()
    assert got == want
    assert dict(seen.quantities(complete=True)) == dict(expected.quantities(complete=True))


@pytest.mark.parametrize("reader", [EventStream, StrippedStream])
def test_a_name_in_two_chunks_is_heard(reader: type[EventStream | StrippedStream]) -> None:
    """The second chunk looks as if it said nothing."""
    seen = readings()
    stream = reader(seen, [])
    stream.feed(b'data: {"a":1}\n\n')
    at = USAGE.find(b'age"')
    stream.feed(USAGE[:at])
    stream.feed(USAGE[at:])
    assert seen.quantities(complete=True)["tokens_in"].value == 5
