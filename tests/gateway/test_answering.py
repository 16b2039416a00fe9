"""A stream on its way through the line-rate shell: what the client gets of it, and how framed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.chunked import LAST_CHUNK, Chunked, encode_chunk
from metering.usage import Outcome
from tests.gateway.line import Bench, Wire

ASKED = b"POST /v1/chat/completions HTTP/1.1\r\nHost: gw\r\nX-Api-Key: sk-test\r\n"
JSON = b'{"stream":true}'
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENT = b'data: {"choices":[{"delta":{"content":"x"}}]}\n\n'
NULL = EVENT.replace(b"}]}", b'}],"usage":null}')
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}}\n\n'
DONE = b"data: [DONE]\n\n"


def streaming(bench: Bench, *, injected: bool = False, old: bool = False) -> tuple[Wire, Wire]:
    """A stream has begun: the client's side and the upstream's; the client's head is taken off."""
    _, client = bench.client()
    body = JSON if injected else b""
    kind = b"Content-Type: application/json\r\n" if injected else b""
    asked = ASKED.replace(b"/1.1", b"/1.0", 1) if old else ASKED
    bench.says(client, asked + kind + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    upstream = bench.connect()
    assert upstream is not None
    assert (b"include_usage" in upstream.written) == injected
    bench.says(upstream, HEAD)
    assert client.written.endswith(b"\r\n\r\n")
    client.written = b""
    return client, upstream


def test_whole_chunks_keep_their_framing() -> None:
    """Also several of them; others are framed anew, and the end is ours."""
    bench = Bench()
    client, upstream = streaming(bench)
    one = b"%X\r\n%b\r\n" % (len(EVENT), EVENT)
    bench.says(upstream, one)
    bench.says(upstream, one + one)
    assert client.written == one * 3
    client.written = b""
    bench.says(upstream, b"%x;a=b\r\n%b\r\n" % (len(EVENT), EVENT))
    bench.says(upstream, one[:9])
    bench.says(upstream, one[9:] + b"0;x\r\n\r\n")
    assert client.written == (
        encode_chunk(EVENT) + encode_chunk(EVENT[:5]) + encode_chunk(EVENT[5:]) + LAST_CHUNK
    )
    [record] = bench.kept.records
    assert record.quantities["bytes_out"].value == len(EVENT) * 5
    assert bench.telemetry.bytes_out == len(EVENT) * 5
    bench.end()
    bench.check_end()


def test_an_old_client_gets_no_chunks() -> None:
    """HTTP/1.0 knows none: its connection ends with the body."""
    bench = Bench()
    client, upstream = streaming(bench, old=True)
    bench.says(upstream, encode_chunk(EVENT) + encode_chunk(EVENT))
    bench.says(upstream, LAST_CHUNK)
    assert client.written == EVENT * 2


def test_what_was_injected_is_taken_out_of_the_chunks() -> None:
    """A chunk of which something is left is framed anew; of the others nothing is."""
    bench = Bench()
    client, upstream = streaming(bench, injected=True)
    for event in (EVENT, NULL, NULL + NULL, USAGE, DONE):
        bench.says(upstream, encode_chunk(event))
    bench.says(upstream, LAST_CHUNK)
    lesser = NULL.replace(b',"usage":null', b"")
    assert client.written == (
        b"".join(map(encode_chunk, (EVENT, lesser, lesser * 2, DONE))) + LAST_CHUNK
    )
    [record] = bench.kept.records
    assert record.quantities["tokens_out"].value == 2


@given(
    st.lists(
        st.sampled_from([EVENT, NULL, EVENT + NULL, USAGE, b": x\n\n", EVENT[:9]]), max_size=8
    ),
    st.booleans(),
    st.lists(st.integers(1, 200), max_size=8),
)
def test_however_it_comes_the_client_gets_the_same(
    contents: list[bytes], injected: bool, sizes: list[int]
) -> None:
    """Chunk by chunk, byte by byte or cut anywhere: the same content, recorded alike."""
    chunks = [*map(encode_chunk, contents), LAST_CHUNK]
    stream, cut, at = b"".join(chunks), [], 0
    for size in [*sizes, len(b"".join(chunks))]:
        cut.append(stream[at : at + size])
        at += size
    outcomes = []
    for reads in (chunks, cut, [stream[at : at + 1] for at in range(len(stream))]):
        bench = Bench()
        client, upstream = streaming(bench, injected=injected)
        for each in reads:
            bench.says(upstream, each)
        body = Chunked()
        content, rest = body.feed(client.written)
        assert body.over
        assert rest == b""
        [record] = bench.kept.records
        outcomes.append((content, record.quantities))
    assert outcomes[0] == outcomes[1] == outcomes[2]


@pytest.mark.parametrize("bad", [b"5\r\nhello!\r\n", b"x\r\n", b"-5\r\nhello\r\n", b"5\nhello\r\n"])
def test_broken_framing_is_not_passed_on(bad: bytes) -> None:
    """What came before the trouble is; then the client is cut off."""
    bench = Bench()
    client, upstream = streaming(bench)
    bench.says(upstream, encode_chunk(EVENT))
    bench.says(upstream, encode_chunk(EVENT) + bad)
    body = Chunked()
    assert body.feed(client.written)[0].removesuffix(b"hello") == EVENT * 2
    assert not body.over
    assert client.closing
    assert [record.outcome for record in bench.kept.records] == [Outcome.UPSTREAM_CUT]


def test_a_client_that_is_full_holds_the_upstream() -> None:
    """What comes meanwhile is not lost, and the turn is the client's until it goes on."""
    bench = Bench()
    client, upstream = streaming(bench)
    bench.says(upstream, encode_chunk(EVENT))
    client.protocol.pause_writing()
    held = not upstream.reading
    bench.says(upstream, encode_chunk(EVENT))
    client.protocol.resume_writing()
    assert held
    assert upstream.reading
    bench.says(upstream, encode_chunk(EVENT) + LAST_CHUNK)
    assert client.written == encode_chunk(EVENT) * 3 + LAST_CHUNK


def test_each_event_gives_a_stream_its_time_anew() -> None:
    """Silence ends it, not its length."""
    bench = Bench()
    client, upstream = streaming(bench)
    for _ in range(5):
        bench.wait(200.0)
        bench.says(upstream, encode_chunk(EVENT))
    assert len(bench.shared.exchanges) == 1
    bench.wait(400.0)
    assert client.closing


def test_a_client_that_left_is_drained_in_chunks_too() -> None:
    """Nothing is written for it, and what was used is read."""
    bench = Bench()
    client, upstream = streaming(bench)
    bench.says(upstream, encode_chunk(EVENT))
    client.breaks()
    for event in (EVENT, USAGE, DONE):
        bench.says(upstream, encode_chunk(event))
    bench.says(upstream, LAST_CHUNK)
    [record] = bench.kept.records
    assert record.outcome == Outcome.CLIENT_LEFT
    assert record.quantities["tokens_out"].value == 2
    assert record.quantities["bytes_out"].value == len(EVENT)
    bench.end()
    bench.check_end()


def test_a_drain_of_chunks_is_bounded() -> None:
    """What comes for nobody is counted."""
    bench = Bench(max_bytes=len(EVENT))
    client, upstream = streaming(bench)
    bench.says(upstream, encode_chunk(EVENT))
    client.breaks()
    bench.says(upstream, encode_chunk(EVENT))
    assert len(bench.shared.exchanges) == 1
    bench.says(upstream, encode_chunk(EVENT))
    assert upstream.closing
    assert [record.outcome for record in bench.kept.records] == [Outcome.CLIENT_LEFT]
