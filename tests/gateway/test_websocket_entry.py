"""Who gets no WebSocket, and how he is told."""

import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection

from metering.usage import Outcome
from tests.gateway.running import Running, gateway
from tests.gateway.talking import dial, echo, talker
from tests.servers import Received, ask, eventually, read_until, upstream

HANDSHAKE = (
    b"GET /v1/x HTTP/1.1\r\nHost: gw\r\nX-Api-Key: sk-test\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Sec-WebSocket-Version: 13\r\n"
)


@pytest.fixture(scope="module")
def shared() -> Iterator[Running]:
    """A gateway in front of an echo."""
    with talker(echo) as up, gateway(up.url) as running:
        yield running


@pytest.fixture
def gw(shared: Running) -> Running:
    """The gateway with nothing recorded yet."""
    shared.idle()
    shared.kept.records.clear()
    shared.kept.shut = False
    return shared


def refused(gw: Running, target: str = "/v1/x", **options: Any) -> tuple[int, Any]:
    """Status and body of a handshake that must fail."""
    with pytest.raises(InvalidStatus) as caught:
        dial(gw, target, **options)
    reply = caught.value.response
    return reply.status_code, json.loads(reply.body or b"null")


@pytest.mark.parametrize(
    ("options", "status", "code"),
    [
        ({"key": None}, 401, "missing_api_key"),
        ({"key": "sk-wrong"}, 401, "invalid_api_key"),
        ({"key": None, "protocols": ["openai-insecure-api-key.sk-no"]}, 401, "invalid_api_key"),
        ({"protocols": ["openai-insecure-api-key.sk-no"]}, 401, "invalid_api_key"),
        ({"target": "/elsewhere"}, 404, "unknown_route"),
        ({"target": "/v1/../x"}, 400, "bad_path"),
    ],
)
def test_refusals_come_before_the_handshake(
    gw: Running,
    options: dict[str, Any],
    status: int,
    code: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """With the status and body every request gets; nothing is recorded, or said in the log."""
    got, body = refused(gw, **options)
    assert (got, body["error"]["code"]) == (status, code)
    gw.idle()
    assert gw.kept.records == []
    assert gw.kept.open == {}
    assert caplog.records == []


def test_a_session_that_cannot_be_noted_is_refused(gw: Running) -> None:
    """Nothing goes upstream uncounted."""
    gw.kept.shut = True
    assert refused(gw)[0] == 503


def test_an_upstream_that_is_not_there_is_502() -> None:
    """As for requests, and without a record."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    with gateway(url) as gw:
        status, body = refused(gw)
        assert (status, body["error"]["code"]) == (502, "upstream_unreachable")
        gw.idle()
        assert gw.kept.records == []
        assert gw.kept.open == {}
        assert gw.telemetry.upstream_errors["chat", "upstream_unreachable"] == 1


def test_an_upstream_that_does_not_answer_is_504() -> None:
    """After the route's time for the head of a reply."""
    with (
        upstream(lambda request: request.wait_for_hang_up()) as up,
        gateway(up.url, timeouts={"head": 0.2}) as gw,
    ):
        assert refused(gw)[0] == 504


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: AAAA\r\n\r\n",
        b"nonsense\r\n\r\n",
    ],
)
def test_an_upstream_that_speaks_no_websocket_is_502(answer: bytes) -> None:
    """An answer of 200, a wrong key, nonsense."""

    def handler(request: Received) -> None:
        request.send(answer)
        request.hang_up()

    with upstream(handler) as up, gateway(up.url) as gw:
        status, body = refused(gw)
        assert (status, body["error"]["code"]) == (502, "upstream_protocol")


@pytest.mark.parametrize("status", [302, 401, 429, 503])
def test_what_the_upstream_refuses_is_refused_in_its_words(status: int) -> None:
    """Recorded, and used nothing."""

    def refuse(connection: ServerConnection, _: Request) -> Response:
        reply = connection.respond(status, '{"no": 1}')
        reply.headers["Retry-After"] = "7"
        return reply

    with talker(echo, process_request=refuse) as up, gateway(up.url) as gw:
        with pytest.raises(InvalidStatus) as caught:
            dial(gw)
        reply = caught.value.response
        assert (reply.status_code, reply.body) == (status, b'{"no": 1}')
        assert reply.headers["Retry-After"] == "7"
        record = gw.record()
        assert reply.headers["X-Request-Id"] == record.request_id
        assert (record.status, record.outcome) == (status, Outcome.COMPLETE)
        assert (record.quantities, record.charges) == ({}, ())


def test_a_redirect_is_for_the_client() -> None:
    """Nobody but the upstreams that are configured is ever called."""
    answer = b"HTTP/1.1 302 Found\r\nLocation: /v1/other\r\nContent-Length: 0\r\n\r\n"
    with upstream(lambda request: request.send(answer)) as up, gateway(up.url) as gw:
        raw = ask(gw.port, HANDSHAKE + b"\r\n")
        assert raw.startswith(b"HTTP/1.1 302")
        assert b"location: /v1/other\r\n" in raw.lower()
        assert [request.target for request in up.requests] == [b"/v1/x"]


def test_a_client_that_leaves_while_the_upstream_thinks_is_recorded_as_gone() -> None:
    """It used nothing."""
    with upstream(lambda request: request.wait_for_hang_up()) as up, gateway(up.url) as gw:
        with socket.create_connection(("127.0.0.1", gw.port)) as client:
            client.sendall(HANDSHAKE + b"\r\n")
            eventually(lambda: up.requests)
        record = gw.record()
        assert (record.status, record.outcome) == (499, Outcome.CLIENT_LEFT)
        assert record.quantities == {}


@pytest.mark.parametrize(
    ("line", "instead", "status"),
    [
        (b"Sec-WebSocket-Version: 13\r\n", b"Sec-WebSocket-Version: 8\r\n", b"426"),
        (b"Sec-WebSocket-Version: 13\r\n", b"", b"426"),
        (b"dGhlIHNhbXBsZSBub25jZQ==", b"c2hvcnQ=", b"400"),
        (b"dGhlIHNhbXBsZSBub25jZQ==", b"", b"400"),
        (b"Sec-WebSocket-Version: 13\r\n", b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: a b\r\n", b"400"),
    ],
)  # fmt: skip
def test_half_a_handshake_is_refused(
    gw: Running, line: bytes, instead: bytes, status: bytes
) -> None:
    """In our words, and the version that is spoken is named."""
    raw = ask(gw.port, HANDSHAKE.replace(line, instead) + b"\r\n")
    assert raw.startswith(b"HTTP/1.1 " + status)
    assert (b"sec-websocket-version: 13\r\n" in raw) == (status == b"426")
    assert json.loads(raw.partition(b"\r\n\r\n")[2])["error"]["request_id"]


@pytest.mark.parametrize(
    ("line", "instead"),
    [
        (b"GET ", b"POST "),
        (b"Upgrade: websocket", b"Upgrade: h2c"),
        (b"Upgrade: websocket", b"Upgrade: websocket, h2c"),
        (b"HTTP/1.1", b"HTTP/1.0"),
    ],
)
def test_any_other_upgrade_is_ignored(line: bytes, instead: bytes) -> None:
    """The request is served as the plain one it also is."""
    with upstream(lambda request: request.reply(b"plain")) as up, gateway(up.url) as gw:
        with socket.create_connection(("127.0.0.1", gw.port), timeout=10) as client:
            client.sendall(HANDSHAKE.replace(line, instead) + b"\r\n")
            assert read_until(client, b"plain").startswith(b"HTTP/1.1 200")
        assert up.requests[0].header(b"upgrade") is None


def test_a_head_that_the_library_would_not_read_is_read(gw: Running) -> None:
    """Long lines, many fields and bytes that are no ASCII: the listener's own bounds count."""
    more = b"X-Long: " + b"a" * 20_000 + b"\r\n" + b"X-Many: 1\r\n" * 90 + b"X-Odd: \xe9\r\n"
    with socket.create_connection(("127.0.0.1", gw.port), timeout=10) as client:
        client.sendall(HANDSHAKE + more + b"\r\n")
        assert b"HTTP/1.1 " in read_until(client, b"\r\n\r\n")


def test_a_handshake_does_not_overtake_a_reply() -> None:
    """The connection cannot change hands while one is under way."""
    release: list[Received] = []

    def handler(request: Received) -> None:
        release.append(request)
        eventually(lambda: len(release) > 1 or request.target != b"/v1/slow")
        request.reply(b"ok")

    with upstream(handler) as up, gateway(up.url) as gw:
        slow = b"GET /v1/slow HTTP/1.1\r\nHost: gw\r\nX-Api-Key: sk-test\r\n\r\n"
        with socket.create_connection(("127.0.0.1", gw.port), timeout=10) as client:
            client.sendall(slow + HANDSHAKE + b"\r\n")
            eventually(lambda: release)
            release.append(release[0])
            raw = read_until(client, b"ok")
            assert raw.startswith(b"HTTP/1.1 200")
            assert b"HTTP/1.1 101" not in raw
