"""What only the line-rate shell does, or does with more care; without sockets (see line.py)."""

import pytest

from gateway.errors import UpstreamUnavailable
from metering.entitlement import EntitledKey, EntitlementSnapshot
from metering.keys import digest
from metering.usage import Outcome
from tests.gateway.line import Bench, Wire
from tests.gateway.running import KEY

HEAD = b" /v1/x HTTP/1.1\r\nHost: gw\r\nX-Api-Key: sk-test\r\n"
GET = b"GET" + HEAD + b"\r\n"
SIZED = b"POST" + HEAD + b"Content-Length: 5\r\n\r\n"
CHUNKED = b"PUT" + HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
TRAILED = b"5\r\nhello\r\n0\r\nX-Late: 1\r\nX-Customer-Id: evil\r\n\r\n"
REPLY = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
STREAM = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


class Line(Bench):
    """One client's connection."""

    def __init__(self, policy: str = "drain", upstreams: int = 1) -> None:
        super().__init__(policy, upstreams)
        self.protocol, self.wire = self.client()

    def asks(self, request: bytes) -> Wire:
        """Ask, on a connection that is opened if need be; the upstream's side."""
        self.says(self.wire, request)
        while self.dials:
            self.connect()
        return self.wires[-1]

    def got(self) -> bytes:
        """What the client got since it looked last."""
        got, self.wire.written = self.wire.written, b""
        return got

    def over(self) -> None:
        """Everybody leaves, and nothing is left."""
        self.end()
        self.check_end()


# Interim replies, expectations, trailers


def test_early_hints_pass_and_continue_does_not() -> None:
    """103 is the upstream's to say; 100 was answered on this hop."""
    line = Line()
    wire = line.asks(GET)
    line.says(wire, b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n")
    line.says(wire, b"Connection: close\r\n\r\n" + REPLY)
    interim, _, final = line.got().partition(b"\r\n\r\n")
    assert interim.split(b"\r\n") == [b"HTTP/1.1 103 Early Hints", b"link: x"]
    assert final.startswith(b"HTTP/1.1 200 ")
    line.over()


def test_an_old_client_gets_no_interim_reply() -> None:
    """HTTP/1.0 knows none."""
    line = Line()
    line.says(line.asks(GET.replace(b"1.1", b"1.0")), b"HTTP/1.1 103 Hints\r\n\r\n" + REPLY)
    assert line.got().startswith(b"HTTP/1.1 200 ")
    line.over()


@pytest.mark.parametrize(
    "interim",
    [b"HTTP/1.1 103 Hints\r\n\r\n" * 17, b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n"],
)
def test_interim_replies_are_bounded(interim: bytes) -> None:
    """Nobody asked for 101, and sixteen are enough; it is 502 without a record."""
    line = Line()
    line.says(line.asks(GET), interim + REPLY)
    assert b"HTTP/1.1 502 " in line.got()
    assert line.kept.records == []
    line.over()


def test_a_body_is_asked_for_once_the_caller_is_let_in() -> None:
    """And only where it did not come by itself."""
    expects = SIZED.replace(b"Content-Length", b"Expect: 100-continue\r\nContent-Length")
    line = Line()
    line.asks(expects)
    assert line.got() == b"HTTP/1.1 100 Continue\r\n\r\n"
    line.says(line.asks(b"hello"), REPLY)
    assert line.got().startswith(b"HTTP/1.1 200 ")
    line.says(line.asks(expects + b"hello"), REPLY)
    assert line.got().startswith(b"HTTP/1.1 200 ")
    line.over()


def test_who_expects_and_is_refused_is_closed() -> None:
    """Its body may come or not, so what follows could be taken for it."""
    line = Line()
    refused = SIZED.replace(b"sk-test", b"wrong").replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n")  # fmt: skip
    line.says(line.wire, refused)
    got = line.got()
    assert got.startswith(b"HTTP/1.1 401 ")
    assert b"connection: close\r\n" in got
    assert line.wire.ended
    line.says(line.wire, GET)
    assert line.got() == b""
    line.over()


@pytest.mark.parametrize("pieces", [[CHUNKED + TRAILED], [CHUNKED, TRAILED], [CHUNKED, TRAILED[:20], TRAILED[20:]]])  # fmt: skip
def test_a_requests_trailers_pass(pieces: list[bytes]) -> None:
    """However they come; and those that must not are dropped."""
    line = Line()
    for piece in pieces:
        line.asks(piece)
    (wire,) = line.wires
    assert wire.written.endswith(b"5\r\nhello\r\n0\r\nx-late: 1\r\n\r\n")
    assert b"evil" not in wire.written
    line.over()


@pytest.mark.parametrize(("wanted", "end"), [(b"TE: trailers\r\n", b"0\r\nx-late: 1\r\n\r\n"), (b"", b"0\r\n\r\n")])  # fmt: skip
def test_a_replys_trailers_pass_to_who_wants_them(wanted: bytes, end: bytes) -> None:
    """A request's own never come back."""
    line = Line()
    wire = line.asks(CHUNKED.replace(b"\r\n\r\n", b"\r\n" + wanted + b"\r\n") + TRAILED.replace(b"X-Late", b"X-Mine"))  # fmt: skip
    line.says(wire, STREAM + TRAILED)
    assert line.got().endswith(b"5\r\nhello\r\n" + end)
    line.over()


# Heads


def test_heads_may_come_byte_by_byte() -> None:
    """Behind an empty line, too."""
    line = Line()
    for byte in b"\r\n" + GET:
        line.says(line.wire, bytes([byte]))
    line.says(line.asks(b""), REPLY)
    assert line.got().startswith(b"HTTP/1.1 200 ")
    line.over()


def test_a_slow_head_is_refused() -> None:
    """And its sender can read that before the connection ends."""
    line = Line()
    line.says(line.wire, GET[:30])
    line.wait(61.0)
    assert line.got().startswith(b"HTTP/1.1 408 ")
    assert line.wire.ended
    assert not line.wire.is_closing()
    line.wait(11.0)
    assert line.wire.closing
    line.over()


def test_an_idle_connection_is_closed() -> None:
    """And one that does not go is broken off."""
    line = Line()
    line.says(line.asks(GET), REPLY)
    line.wait(70.0)
    assert not line.wire.is_closing()
    line.wait(6.0)
    assert line.wire.closing
    line.over()


def test_what_follows_a_head_is_not_answered_without_a_body() -> None:
    """Because the one before it asked with HEAD."""
    line = Line()
    wire = line.asks(b"HEAD" + HEAD + b"\r\n")
    line.says(wire, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
    line.got()
    line.says(line.wire, b"nonsense\n")
    assert b'"code":"bad_request"' in line.got()
    line.over()


@pytest.mark.parametrize("head", [GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), GET.replace(b"1.1", b"1.0")])  # fmt: skip
def test_a_refusal_closes_for_who_wants_that(head: bytes) -> None:
    """Also when it is the upstream that failed."""
    line = Line()
    line.says(line.wire, head)
    line.connect(UpstreamUnavailable())
    got = line.got()
    assert got.startswith(b"HTTP/1.1 502 ")
    assert b"connection: close\r\n" in got
    assert line.wire.closing
    line.over()


def test_who_gets_a_key_is_charged_at_once() -> None:
    """A connection lives longer than what was known of its client."""
    line = Line()
    for _ in range(3):
        line.says(line.asks(GET), REPLY)
    line.directory.put(
        EntitlementSnapshot("cust-2", "Other", (EntitledKey("1", digest(b"pepper", KEY)),))
    )
    line.says(line.asks(GET), REPLY)
    assert [each.customer_id for each in line.kept.records] == ["cust-1"] * 3 + ["cust-2"]
    line.got()
    line.directory.remove("cust-2")
    line.says(line.wire, GET)
    assert line.got().startswith(b"HTTP/1.1 401 ")
    assert len(line.kept.records) == 4
    line.over()


# The upstream's side


def test_another_upstream_is_asked_in_its_own_name() -> None:
    """What is sent again is not what the first one got."""
    line = Line(upstreams=2)
    first = line.asks(GET)
    first.breaks()
    second = line.connect()
    assert second is not None
    hosts = [wire.written.split(b"\r\n")[1] for wire in (first, second)]
    assert sorted(hosts) == [b"host: up0", b"host: up1"]
    line.says(second, REPLY)
    assert line.got().startswith(b"HTTP/1.1 200 ")
    assert len(line.kept.records) == 1
    line.over()


def test_what_is_not_idempotent_is_sent_once() -> None:
    """Whatever the connection did."""
    line = Line()
    line.asks(SIZED + b"hello").breaks()
    assert line.dials == []
    assert line.got().startswith(b"HTTP/1.1 502 ")
    line.over()


def test_an_upstream_that_speaks_unasked_is_left() -> None:
    """What it said is nobody's reply."""
    line = Line()
    wire = line.asks(GET)
    line.says(wire, REPLY)
    line.says(wire, REPLY.replace(b"hello", b"evil!"))
    assert wire.closing
    line.says(line.asks(GET), REPLY)
    assert b"evil!" not in line.got()
    line.over()


class Narrow(Wire):
    """A transport that is full at once."""

    def write(self, data: bytes) -> None:
        super().write(data)
        self.protocol.pause_writing()


def test_an_upstream_that_takes_nothing_holds_the_client() -> None:
    """From the first write on; and the time that passes is the upstream's."""
    line = Line()
    line.new_wire = Narrow
    line.says(line.wire, b"POST" + HEAD + b"Content-Length: 900000\r\n\r\n" + b"x" * 1000)
    wire = line.connect()
    assert wire is not None
    assert not line.wire.reading
    line.wait(400.0)
    assert line.got().startswith(b"HTTP/1.1 504 ")
    line.over()


def test_a_collected_body_leaves_the_turn_to_the_upstream() -> None:
    """Its silence is not blamed on the client."""
    body = b'{"stream": true}'
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: gw\r\nX-Api-Key: sk-test\r\nContent-Type: application/json\r\n"  # fmt: skip
    line = Line()
    line.says(line.wire, head + b"Content-Length: %d\r\n\r\n" % len(body) + body[:5])
    line.asks(body[5:])
    line.wait(400.0)
    assert line.got().startswith(b"HTTP/1.1 504 ")
    line.over()


def test_each_piece_gives_a_drain_its_time_anew() -> None:
    """Within the bound of the whole."""
    line = Line()
    line.shared.drains = type(line.shared.drains)(line.telemetry, seconds=500.0)
    wire = line.asks(GET)
    line.says(wire, STREAM)
    line.wire.breaks()
    for _ in range(2):
        line.wait(200.0)
        line.says(wire, b"2\r\nhi\r\n")
    line.says(wire, b"0\r\n\r\n")
    (record,) = line.kept.records
    assert record.outcome is Outcome.CLIENT_LEFT
    assert line.telemetry.drains_capped == 0
    line.over()


def test_an_early_reply_keeps_the_connection() -> None:
    """What still comes of the body is read and dropped."""
    line = Line()
    wire = line.asks(SIZED + b"he")
    line.says(wire, REPLY.replace(b"200 OK", b"413 Large"))
    assert line.got().startswith(b"HTTP/1.1 413 ")
    assert wire.closing
    line.says(line.asks(b"llo" + GET), REPLY)
    assert line.got().startswith(b"HTTP/1.1 200 ")
    line.over()


def test_too_much_of_an_unwanted_body_ends_the_connection() -> None:
    """A megabyte is read for politeness."""
    line = Line()
    line.says(line.asks(SIZED.replace(b": 5", b": 9000000") + b"x"), REPLY)
    for _ in range(3):
        line.says(line.wire, b"x" * 500_000)
    assert line.wire.closing
    line.over()


def test_a_recorder_that_fails_in_its_own_way_leaves_nothing() -> None:
    """An unknown error ends the connection, not the books."""
    line = Line()

    def begin(request: object) -> int:
        raise ZeroDivisionError

    line.kept.begin = begin  # type: ignore[method-assign]
    line.says(line.wire, GET)
    assert line.wire.closing
    assert (line.telemetry.open_exchanges, line.shared.exchanges) == (0, set())
    line.log.said.clear()
    line.over()
