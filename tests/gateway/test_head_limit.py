"""What a request head may make the server hold, over real sockets."""

import contextlib
import json
import socket
import threading
from collections.abc import Iterator

import pytest

from gateway import trailers
from tests.gateway.running import Running, gateway
from tests.servers import Received, ask, read_all, read_until, upstream

LIMIT = 4096
CALL = b"GET /v1/x HTTP/1.1\r\nHost: gw\r\nX-Api-Key: sk-test\r\n"
CLOSE = b"Connection: close\r\n"


def echo(request: Received) -> None:
    """Answers with the path and the length of the body."""
    request.reply(b"%b %d" % (request.target, len(request.body)))


@pytest.fixture(scope="module")
def shared(shell: str) -> Iterator[Running]:
    """A gateway that accepts heads below 4 KiB."""
    with upstream(echo) as up, gateway(up.url, settings={"max_head_bytes": LIMIT}) as running:
        yield running


@pytest.fixture
def gw(shared: Running) -> Running:
    """The gateway with nothing recorded yet."""
    shared.idle()
    shared.kept.records.clear()
    return shared


def dribble(port: int, start: bytes, piece: bytes, *, total: int) -> bytes:
    """Send endless small pieces until the server has enough; what it says."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        with contextlib.suppress(ConnectionError):
            client.sendall(start)
            for _ in range(total // len(piece)):
                client.sendall(piece)
        return read_all(client)


def refusal(raw: bytes) -> tuple[bytes, str]:
    """Status line and code of a refusal; checks that its head and body are complete."""
    head, _, body = raw.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert b"content-length: %d" % len(body) in lines
    assert b"connection: close" in lines
    assert lines[0].startswith(b"HTTP/1.1 ")
    error = json.loads(body)["error"]
    assert b"x-request-id: " + error["request_id"].encode() in lines
    return lines[0][9:12], error["code"]


@pytest.mark.parametrize(
    ("start", "piece"),
    [
        (CALL + b"X-Endless: ", b"a"),
        (CALL, b"X-Many: 1\r\n"),
        (b"GET /v1/", b"a"),
        (CALL, b"a"),
    ],
)
def test_an_endless_head_is_refused(gw: Running, start: bytes, piece: bytes) -> None:
    """One line without end, lines without end, a target or a name without end."""
    before = gw.telemetry.refusals["head_too_large",]
    assert refusal(dribble(gw.port, start, piece, total=LIMIT * 2)) == (b"431", "head_too_large")
    assert gw.telemetry.refusals["head_too_large",] == before + 1
    assert gw.kept.records == []


def test_a_head_at_once_is_refused_as_well(gw: Running) -> None:
    """Also when it is complete and comes in one write."""
    raw = ask(gw.port, CALL + b"X-Big: " + b"a" * LIMIT + b"\r\n\r\n")
    assert refusal(raw) == (b"431", "head_too_large")


def test_a_head_just_below_the_limit_passes(gw: Running) -> None:
    """The limit counts every byte of the head, not more."""
    rest = b"X-Big: \r\n" + CLOSE + b"\r\n"
    room = LIMIT - len(CALL) - len(rest)
    fits = CALL + rest.replace(b": \r", b": " + b"a" * room + b"\r", 1)
    assert len(fits) == LIMIT
    assert ask(gw.port, fits).startswith(b"HTTP/1.1 200 ")
    assert refusal(ask(gw.port, fits.replace(b"aa", b"aaa", 1)))[0] == b"431"


@pytest.mark.parametrize("chunk", [0, 1, 3, 100_000])
def test_a_large_body_passes(gw: Running, chunk: int) -> None:
    """With a length, and in chunks of any size, of which the small ones are mostly framing."""
    size = 300_000 if chunk != 1 else 20_000
    if chunk:
        framing = b"Transfer-Encoding: chunked"
        one = b"%x\r\n" % chunk + b"x" * chunk + b"\r\n"
        body = one * (size // chunk) + b"0\r\n\r\n"
    else:
        framing = b"Content-Length: %d" % size
        body = b"x" * size
    call = CALL.replace(b"GET", b"POST") + CLOSE + framing + b"\r\n\r\n"
    assert ask(gw.port, call + body).endswith(b"/v1/x %d" % size)


def test_every_request_of_a_connection_has_its_own_limit(gw: Running) -> None:
    """Heads and bodies of earlier requests do not count; a later endless head is refused."""
    head = CALL.replace(b"GET", b"POST") + b"X-Pad: " + b"a" * (LIMIT - 300)
    call = head + b"\r\nContent-Length: 9000\r\n\r\n" + b"x" * 9000
    with socket.create_connection(("127.0.0.1", gw.port), timeout=10) as client:
        for _ in range(5):
            client.sendall(call)
            assert b"200" in read_until(client, b"/v1/x 9000")
        with contextlib.suppress(ConnectionError):
            client.sendall(CALL + b"X-Big: " + b"a" * LIMIT)
        assert refusal(read_all(client))[0] == b"431"


def test_pipelined_heads_do_not_add_up(gw: Running) -> None:
    """Ten requests in one write, together well above the limit."""
    call = CALL + b"X-Pad: " + b"a" * 1000 + b"\r\n"
    raw = ask(gw.port, (call + b"\r\n") * 9 + call + CLOSE + b"\r\n")
    assert raw.count(b"HTTP/1.1 200 ") == 10
    assert len(gw.kept.records) == 10


@pytest.mark.parametrize(
    ("bad", "status"),
    [(b"X-Big: " + b"a" * LIMIT * 3, b"431"), (b"not HTTP at all\r\n\r\n", b"400")],
)
def test_a_reply_in_progress_stays_whole(bad: bytes, status: bytes, shell: str) -> None:
    """What comes wrong behind a good request does not spoil its answer; then it is over.

    The line-rate shell answers it then, which uvicorn's queue cannot.
    """
    asked, go_on = threading.Event(), threading.Event()

    def slow(request: Received) -> None:
        asked.set()
        assert go_on.wait(10)
        echo(request)

    with (
        upstream(slow) as up,
        gateway(up.url, settings={"max_head_bytes": LIMIT}) as gw,
        socket.create_connection(("127.0.0.1", gw.port), timeout=10) as client,
    ):
        client.sendall(CALL + b"\r\n")
        assert asked.wait(10)
        with contextlib.suppress(ConnectionError):
            client.sendall((CALL if bad.startswith(b"X") else b"") + bad)
        go_on.set()
        raw = read_all(client)
        assert raw.startswith(b"HTTP/1.1 200 ")
        first, whole, second = raw.partition(b"/v1/x 0")
        assert (first.count(b"HTTP/1.1"), whole) == (1, b"/v1/x 0")
        if shell == "linerate":
            assert refusal(second)[0] == status
        else:
            assert second == b""


def test_endless_trailers_are_refused(gw: Running, shell: str) -> None:
    """They are no body, and nobody is told of them while they come.

    The line-rate shell has a bound for them of their own, and takes them for framing.
    """
    start = CALL.replace(b"GET", b"POST") + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n"
    endless, total = b"X-Trailer: ", max(LIMIT, trailers.MAX_BYTES) * 2
    raw = dribble(gw.port, start + endless, b"a" * 16, total=total)
    assert refusal(raw)[0] == (b"400" if shell == "linerate" else b"431")


@pytest.mark.parametrize(
    "raw",
    [
        b"not HTTP at all\r\n\r\n",
        CALL + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        CALL + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\n",
        CALL + b" folded: line\r\n\r\n",
        CALL + b"X: a\rb\r\n\r\n",
        CALL.replace(b"GET", b"POST") + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
    ],
)
def test_what_is_no_http_gets_the_documented_body(gw: Running, raw: bytes) -> None:
    """400 and closed, instead of uvicorn's own words; nothing is served."""
    status, code = refusal(ask(gw.port, raw))
    assert (status, code) in [(b"400", "bad_request"), (b"400", "bad_path")]
    gw.idle()
    assert all(not record.quantities for record in gw.kept.records)


@pytest.mark.parametrize(
    ("raw", "linerate", "portable"),
    [
        (b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n", b"501", b"400"),
        (b"OPTIONS * HTTP/1.1\r\nHost: gw\r\nConnection: close\r\n\r\n", b"204", b"400"),
    ],
)
def test_targets_without_a_path(
    gw: Running, shell: str, raw: bytes, linerate: bytes, portable: bytes
) -> None:
    """No tunnels; who asks nobody in particular is answered where the parser lets us see it."""
    answer = ask(gw.port, raw)
    assert answer[9:12] == (linerate if shell == "linerate" else portable)
    assert b"connection: close\r\n" in answer
    assert gw.kept.records == []
