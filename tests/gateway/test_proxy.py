"""The portable shell over real sockets: what goes up, what comes back, what is recorded."""

import gzip
import json
import socket
import threading
from contextlib import ExitStack
from typing import Any

import pytest

from gateway.proxy import head_of
from metering import keys
from metering.board import Open
from metering.entitlement import EntitledInstance, EntitledKey, EntitlementSnapshot, InstanceStatus
from metering.usage import Charge, Grade, Outcome, Quantity
from tests.asgi import http_scope
from tests.gateway.running import KEY, gateway
from tests.servers import (
    Received,
    ask,
    eventually,
    push_until_stuck,
    read_all,
    read_until,
    upstream,
)

USAGE = b'{"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}}'
AUTH = b"Host: gw\r\nAuthorization: Bearer sk-test\r\n"


def json_reply(request: Received) -> None:
    """Answers every request with the same usage."""
    request.json(USAGE)


def error_of(body: bytes) -> str:
    """The code of the gateway's own error body."""
    error = json.loads(body)["error"]
    assert set(error) == {"code", "message", "message_zh", "request_id"}
    code: str = error["code"]
    return code


@pytest.mark.usefixtures("shell")
def test_a_json_call_is_proxied_and_recorded() -> None:
    """The whole path: what the upstream saw, what the client got, one record."""
    with upstream(json_reply) as up, gateway(up.url) as gw:
        reply, body = gw.ask("POST", "/v1/chat?a=%7e&a=b+c", b'{"q": 1}')
        (seen,) = up.requests
        record = gw.record()
    assert (reply.status, body) == (200, USAGE)
    assert (seen.method, seen.target, seen.body) == ("POST", b"/v1/chat?a=%7e&a=b+c", b'{"q": 1}')
    assert seen.header(b"x-customer-id") == b"cust-1"
    assert seen.header(b"x-customer-name") == b"Example"
    assert seen.header(b"x-request-id") == reply.headers["X-Request-Id"].encode()
    assert seen.header(b"host") == up.url.removeprefix("http://").encode()
    assert seen.header(b"x-forwarded-for") == b"127.0.0.1"
    assert seen.header(b"authorization") is None
    assert seen.header(b"user-agent") is None
    assert record.request_id == reply.headers["X-Request-Id"]
    assert record.outcome is Outcome.COMPLETE
    assert record.charges == (Charge("inst-1", "tokens_total"),)
    assert record.quantities["tokens_total"] == Quantity(7)
    assert record.quantities["bytes_in"] == Quantity(8)
    assert record.quantities["bytes_out"] == Quantity(len(USAGE))


@pytest.mark.usefixtures("shell")
def test_the_record_is_written_before_the_reply_is_whole() -> None:
    """Whoever has the last byte can already find the call in the books."""
    with upstream(json_reply) as up, gateway(up.url) as gw:
        for _ in range(20):
            before = len(gw.kept.records)
            gw.ask()
            assert len(gw.kept.records) == before + 1


def test_a_reply_that_cannot_be_recorded_is_not_served(shell: str) -> None:
    """The client sees a broken reply, or where it has seen none of it an error, as at line rate."""
    with upstream(json_reply) as up, gateway(up.url) as gw:
        gw.kept.full = True
        raw = ask(gw.port, b"GET /v1/x HTTP/1.1\r\nConnection: close\r\n" + AUTH + b"\r\n")
        assert b"total_tokens" not in raw
        assert raw.startswith(b"HTTP/1.1 503 " if shell == "linerate" else b"HTTP/1.1 200 ")
        assert gw.telemetry.uncounted == 1
        raw = ask(gw.port, b"HEAD /v1/x HTTP/1.1\r\nConnection: close\r\n" + AUTH + b"\r\n")
        assert raw.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: " in raw


@pytest.mark.usefixtures("shell")
def test_a_request_stands_open_until_it_is_recorded() -> None:
    """Before anything goes upstream it is noted, by id, customer, route and start."""
    seen: list[Open] = []
    with ExitStack() as stack:

        def look(request: Received) -> None:
            seen.extend(gw.kept.open.values())
            json_reply(request)

        gw = stack.enter_context(gateway(stack.enter_context(upstream(look)).url))
        gw.ask()
        record = gw.record()
        assert [(o.request_id, o.customer_id, o.route) for o in seen] == [
            (record.request_id, "cust-1", "chat")
        ]
        assert gw.kept.open == {}
        assert gw.kept.synced == 1


@pytest.mark.usefixtures("shell")
def test_a_request_that_cannot_be_noted_is_refused() -> None:
    """A journal that takes nothing more: 503, and the upstream hears nothing of it."""
    with upstream(json_reply) as up, gateway(up.url) as gw:
        gw.kept.shut = True
        reply, body = gw.ask()
        assert (reply.status, reply.headers["Retry-After"]) == (503, "5")
        assert b"metering_unavailable" in body
        assert up.requests == []
        assert gw.telemetry.refusals["metering_unavailable",] == 1


@pytest.mark.usefixtures("shell")
def test_what_could_not_be_recorded_stays_open() -> None:
    """The upstream has served it, so it is named uncertain later, never forgotten."""
    with upstream(json_reply) as up, gateway(up.url) as gw:
        gw.kept.full = True
        ask(gw.port, b"GET /v1/x HTTP/1.1\r\nConnection: close\r\n" + AUTH + b"\r\n")
        gw.idle()
        assert len(gw.kept.open) == 1


@pytest.mark.usefixtures("shell")
def test_a_call_without_a_record_is_open_no_longer() -> None:
    """Nobody answered: nothing was used, and nothing is uncertain."""
    with gateway("http://127.0.0.1:1") as gw:
        assert gw.ask()[0].status == 502
        gw.idle()
        assert (gw.kept.begun, gw.kept.open, gw.kept.records) == (1, {}, [])


@pytest.mark.usefixtures("shell")
def test_events_arrive_one_by_one() -> None:
    """A stream is not collected; the next event is sent when the client has the last."""
    turn = threading.Event()

    def stream(request: Received) -> None:
        request.open_stream()
        for number in range(3):
            request.chunk(b"data: {}\n\n" if number < 2 else b"data: " + USAGE + b"\n\n")
            assert turn.wait(10)
            turn.clear()
        request.chunk(b"")

    with upstream(stream) as up, gateway(up.url) as gw, gw.connect() as client:
        client.request("GET", "/v1/x", headers={"X-Api-Key": KEY})
        reply = client.getresponse()
        assert reply.headers["Content-Type"] == "text/event-stream"
        for _ in range(3):
            assert reply.readline().startswith(b"data: ")
            assert reply.readline() == b"\n"
            turn.set()
        assert reply.read() == b""
        assert gw.quantities()["tokens_total"] == 7


@pytest.mark.usefixtures("shell")
def test_a_chunked_request_arrives_chunk_by_chunk() -> None:
    """It keeps its framing, and every byte is counted."""
    pieces = [b"a" * 10, b"b" * 70_000, b"c"]
    with upstream(json_reply) as up, gateway(up.url) as gw:
        reply, _ = gw.ask("POST", "/v1/x", iter(pieces), {"Transfer-Encoding": "chunked"})
        (seen,) = up.requests
        assert reply.status == 200
        assert seen.header(b"transfer-encoding") == b"chunked"
        assert seen.header(b"content-length") is None
        assert seen.body == b"".join(pieces)
        assert gw.quantities()["bytes_in"] == len(seen.body)


@pytest.mark.usefixtures("shell")
def test_a_request_without_body_gets_none() -> None:
    """No framing is invented for the upstream."""
    with upstream(json_reply) as up, gateway(up.url) as gw:
        gw.ask("DELETE")
        (seen,) = up.requests
    assert seen.header(b"content-length") is None
    assert seen.header(b"transfer-encoding") is None


@pytest.mark.usefixtures("shell")
def test_a_stream_is_asked_for_usage_behind_the_clients_back() -> None:
    """The upstream gets the option, the client gets the bytes it would have got."""
    content = b'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n'
    extra = b'data: {"choices":[],' + USAGE[1:] + b"\n\n"

    def stream(request: Received) -> None:
        request.open_stream()
        asked = json.loads(request.body).get("stream_options") == {"include_usage": True}
        for event in (content, extra if asked else b"", b"data: [DONE]\n\n"):
            if event:
                request.chunk(event)
        request.chunk(b"")

    body = json.dumps({"stream": True, "messages": []}).encode()
    with upstream(stream) as up, gateway(up.url) as gw:
        headers = {"Content-Type": "application/json", "Accept-Encoding": "gzip"}
        _, got = gw.ask("POST", "/v1/chat/completions", body, headers)
        (seen,) = up.requests
        assert seen.header(b"accept-encoding") == b"identity"
        assert gw.quantities()["tokens_total"] == 7
    assert got == content + b"data: [DONE]\n\n"


@pytest.mark.usefixtures("shell")
def test_a_body_too_large_to_change_is_streamed_unchanged() -> None:
    """What was collected of it goes first."""
    body = b'{"stream": true, "messages": ["' + b"x" * 5_000_000 + b'"]}'
    with upstream(json_reply) as up, gateway(up.url) as gw:
        reply, _ = gw.ask(
            "POST", "/v1/chat/completions", body, {"Content-Type": "application/json"}
        )
        (seen,) = up.requests
        assert reply.status == 200
        assert seen.body == body
        assert gw.quantities()["bytes_in"] == len(body)


@pytest.mark.usefixtures("shell")
def test_a_compressed_reply_is_read_but_passes_as_it_is() -> None:
    """The client gets the gzip bytes."""
    packed = gzip.compress(USAGE)

    def reply(request: Received) -> None:
        request.reply(packed, b"Content-Type: application/json", b"Content-Encoding: gzip")

    with upstream(reply) as up, gateway(up.url) as gw:
        _, body = gw.ask(headers={"Accept-Encoding": "gzip"})
        assert body == packed
        assert gw.quantities()["tokens_total"] == 7


@pytest.mark.usefixtures("shell")
def test_a_body_that_is_no_json_passes_and_counts_as_missing() -> None:
    """It is seen in a metric."""
    with upstream(lambda request: request.json(b"<html>")) as up, gateway(up.url) as gw:
        _, body = gw.ask()
        assert body == b"<html>"
        assert gw.record().quantities["tokens_total"] == Quantity(0, Grade.MISSING)
        assert gw.telemetry.usage_missing["chat",] == 1


@pytest.mark.usefixtures("shell")
def test_cookies_are_kept_apart_and_never_given_to_the_next_caller() -> None:
    """Two Set-Cookie fields stay two; the gateway stores none."""

    def reply(request: Received) -> None:
        request.reply(b"{}", b"Set-Cookie: a=1; Path=/", b"Set-Cookie: b=2")

    with upstream(reply) as up, gateway(up.url) as gw:
        for _ in range(2):
            answer, _ = gw.ask()
            assert answer.headers.get_all("Set-Cookie") == ["a=1; Path=/", "b=2"]
        assert [request.header(b"cookie") for request in up.requests] == [None, None]


@pytest.mark.usefixtures("shell")
def test_a_redirect_is_the_clients_to_follow() -> None:
    """The gateway does not go anywhere by itself."""

    def reply(request: Received) -> None:
        request.reply(b"", b"Location: /v1/elsewhere", status=b"307 Temporary Redirect")

    with upstream(reply) as up, gateway(up.url) as gw:
        answer, _ = gw.ask()
        assert (answer.status, answer.headers["Location"]) == (307, "/v1/elsewhere")
        assert len(up.requests) == 1


@pytest.mark.parametrize(
    ("method", "status", "length"),
    [
        ("HEAD", b"200 OK", b"5"),
        ("GET", b"304 Not Modified", b"5"),
        ("GET", b"204 No Content", b""),
    ],
)
def test_replies_without_body_end_with_their_head(
    shell: str, method: str, status: bytes, length: bytes
) -> None:
    """The connection is good for the next call (the portable shell uses none again), and the record stands before the reply."""

    def reply(request: Received) -> None:
        line = b"Content-Length: " + length + b"\r\n" if length else b""
        request.send(b"HTTP/1.1 " + status + b"\r\n" + line + b"\r\n")

    with upstream(reply) as up, gateway(up.url) as gw, gw.connect() as client:
        for number in (1, 2):
            client.request(method, "/v1/x", headers={"api-key": KEY})
            answer = client.getresponse()
            assert answer.status == int(status[:3])
            assert answer.read() == b""
            assert len(gw.kept.records) == number
        assert up.connections == (1 if shell == "linerate" else 2)


@pytest.mark.usefixtures("shell")
def test_an_upstreams_error_passes_and_is_not_billed() -> None:
    """Status and body are the upstream's; the record holds nothing to count."""

    def reply(request: Received) -> None:
        request.reply(USAGE, b"Retry-After: 3", status=b"429 Too Many Requests")

    with upstream(reply) as up, gateway(up.url) as gw:
        answer, body = gw.ask()
        assert (answer.status, answer.headers["Retry-After"], body) == (429, "3", USAGE)
        assert (gw.record().quantities, gw.record().charges) == ({}, ())


@pytest.mark.usefixtures("shell")
@pytest.mark.parametrize(
    ("target", "key", "status", "code"),
    [
        ("/v1/x", "wrong", 401, "invalid_api_key"),
        ("/v1/x", None, 401, "missing_api_key"),
        ("/v2/x", None, 404, "unknown_route"),
        ("/v1/%2e%2e/admin", "sk-test", 400, "bad_path"),
        ("/v2/%0a", None, 400, "bad_path"),
        ("/v2/%0d%0aline", "sk-test", 400, "bad_path"),
    ],
)
def test_refusals_have_their_documented_body(
    target: str, key: str | None, status: int, code: str
) -> None:
    """Nothing reaches the upstream and nothing is recorded."""
    with upstream(json_reply) as up, gateway(up.url) as gw:
        reply, body = gw.ask(target=target, key=key)
        assert (reply.status, error_of(body)) == (status, code)
        assert json.loads(body)["error"]["request_id"] == reply.headers["X-Request-Id"]
        assert reply.headers["Content-Type"] == "application/json"
        assert reply.headers["WWW-Authenticate"] == ("Bearer" if status == 401 else None)
        assert (up.requests, gw.kept.records) == ([], [])
        assert gw.telemetry.refusals[code,] == 1


@pytest.mark.usefixtures("shell")
def test_a_key_that_ended_or_is_for_other_routes_is_told_so() -> None:
    """Before anything reaches the upstream, also on a connection that served it a moment ago."""
    digest = keys.digest(b"pepper", "sk-scoped")
    owned = (EntitledInstance("i", "T", InstanceStatus.ACTIVE),)

    def refusal(**said: Any) -> tuple[int, str, str | None]:
        key = EntitledKey("7", digest, **said)
        gw.directory.put(EntitlementSnapshot("c", "C", (key,), owned))
        reply, body = gw.ask(key="sk-scoped")
        return reply.status, error_of(body), reply.headers["WWW-Authenticate"]

    with upstream(json_reply) as up, gateway(up.url) as gw:
        assert refusal(expires=1) == (401, "key_expired", "Bearer")
        assert refusal(routes=("speech",)) == (403, "key_not_for_route", None)
        assert (up.requests, gw.kept.records) == ([], [])
        gw.directory.put(EntitlementSnapshot("c", "C", (EntitledKey("7", digest),), owned))
        assert gw.ask(key="sk-scoped")[0].status == 200
        assert gw.directory.take_used() == {"7"}
        assert refusal(expires=1) == (401, "key_expired", "Bearer")


@pytest.mark.usefixtures("shell")
def test_the_right_route_is_found_among_several_upstreams() -> None:
    """One route with two upstreams uses both, and cuts its prefix off."""
    with (
        upstream(json_reply) as one,
        upstream(json_reply) as two,
        gateway(one.url, two.url + "/base", strip_prefix=True) as gw,
    ):
        for _ in range(4):
            gw.ask(target="/v1/x")
        assert [request.target for request in one.requests] == [b"/x", b"/x"]
        assert [request.target for request in two.requests] == [b"/base/x", b"/base/x"]


@pytest.mark.usefixtures("shell")
def test_trailers_cannot_smuggle_headers() -> None:
    """What stands behind the body is nobody's header."""
    raw = (
        b"POST /v1/x HTTP/1.1\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n"
        + AUTH
        + b"\r\n"
        b"2\r\n{}\r\n0\r\nX-Customer-Id: evil\r\nX-Late: 1\r\n\r\n"
    )
    with upstream(json_reply) as up, gateway(up.url) as gw:
        assert ask(gw.port, raw).startswith(b"HTTP/1.1 200 ")
        (seen,) = up.requests
    assert seen.header(b"x-customer-id") == b"cust-1"
    assert seen.header(b"x-late") is None


def test_an_upgrade_is_not_passed_on(shell: str) -> None:
    """The call is served as plain HTTP/1.1. Behind it, only the line-rate shell reads on."""
    asked, go_on = threading.Event(), threading.Event()

    def slow(request: Received) -> None:
        asked.set()
        assert go_on.wait(10)
        request.reply(b"")

    upgrade = b"Connection: Upgrade\r\nUpgrade: h2c\r\n"
    with (
        upstream(slow) as up,
        gateway(up.url) as gw,
        socket.create_connection(("127.0.0.1", gw.port), timeout=10) as client,
    ):
        client.sendall(b"GET /v1/x HTTP/1.1\r\n" + upgrade + AUTH + b"\r\n")
        assert asked.wait(10)
        client.sendall(b"GET /v1/second HTTP/1.1\r\n" + AUTH + b"\r\n")
        assert gw.ask("POST", "/v2/")[0].status == 404  # by now the second has been read
        go_on.set()
        served = 3 if shell == "linerate" else 1
        client.sendall(b"GET /v1/last HTTP/1.1\r\nConnection: close\r\n" + AUTH + b"\r\n")
        assert read_all(client).count(b"HTTP/1.1 200 ") == served
        assert up.requests[0].header(b"upgrade") is None
        assert len(gw.kept.records) == len(up.requests) == served


def test_an_upgrade_with_a_body(shell: str) -> None:
    """Ignored like any other, but uvicorn's parser leaves the body unread, so there it is refused."""
    head = b"POST /v1/x HTTP/1.1\r\nUpgrade: h2c\r\nContent-Length: 2\r\n"
    head += b"Connection: Upgrade, close\r\n" if shell == "linerate" else b"Connection: Upgrade\r\n"
    with upstream(json_reply) as up, gateway(up.url) as gw:
        raw = ask(gw.port, head + AUTH + b"\r\n{}")
        if shell == "linerate":
            assert raw.startswith(b"HTTP/1.1 200 ")
            assert [(r.body, r.header(b"upgrade")) for r in up.requests] == [(b"{}", None)]
        else:
            assert raw.startswith(b"HTTP/1.1 400 ")
            assert (up.requests, gw.kept.records) == ([], [])


def test_what_a_server_adds_to_the_scope_later_is_not_in_the_head() -> None:
    """Some servers append trailers to the headers they already gave away."""
    headers = [(b"host", b"gw")]
    head = head_of(http_scope(headers=headers))
    headers.append((b"x-customer-id", b"evil"))
    assert (b"x-customer-id", b"evil") not in head.headers


@pytest.mark.usefixtures("shell")
def test_pipelined_calls_are_answered_in_order() -> None:
    """Three requests in one write, three replies, three records."""
    calls = [b"GET /v1/%d HTTP/1.1\r\n" % number + AUTH + b"\r\n" for number in range(3)]
    calls[2] = calls[2].replace(AUTH, b"Connection: close\r\n" + AUTH)
    echo = upstream(lambda request: request.reply(request.target))
    with echo as up, gateway(up.url) as gw:
        raw = ask(gw.port, b"".join(calls))
        positions = [raw.index(b"/v1/%d" % number) for number in range(3)]
        assert positions == sorted(positions)
        assert len(gw.kept.records) == 3


@pytest.mark.usefixtures("shell")
def test_expect_100_continue_is_answered_here() -> None:
    """The body is asked for once the caller is admitted; the upstream is not bothered."""
    head = (
        b"POST /v1/x HTTP/1.1\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 2\r\n"
    )
    with upstream(json_reply) as up, gateway(up.url) as gw:
        with socket.create_connection(("127.0.0.1", gw.port), timeout=10) as client:
            client.sendall(head + AUTH + b"\r\n")
            assert read_until(client, b"\r\n\r\n").startswith(b"HTTP/1.1 100 ")
            client.sendall(b"{}")
            assert read_all(client).startswith(b"HTTP/1.1 200 ")
        assert up.requests[0].header(b"expect") is None
        stranger = ask(gw.port, head + b"Host: gw\r\n\r\n")
        assert stranger.startswith(b"HTTP/1.1 401 ")


@pytest.mark.usefixtures("shell")
def test_an_upstream_that_does_not_read_makes_the_client_wait() -> None:
    """The gateway holds a bounded part of a body, not all of it."""
    release = threading.Event()

    def slow(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            assert release.wait(20)
            got = b""
            while not got.endswith(b"END"):
                got += connection.recv(1 << 20)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    total = 32 * 1024 * 1024
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=slow, args=(listener,), daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with gateway(url) as gw, socket.create_connection(("127.0.0.1", gw.port)) as client:
            client.settimeout(0.5)
            client.sendall(
                b"POST /v1/x HTTP/1.1\r\nConnection: close\r\nContent-Length: %d\r\n" % total
                + AUTH
                + b"\r\n"
            )
            sent = push_until_stuck(client, total - 3)
            assert sent < total - 3
            assert gw.telemetry.bytes_in < total // 4
            release.set()
            client.settimeout(20)
            body = b"x" * (total - sent - 3) + b"END"
            client.sendall(body)
            assert read_all(client).startswith(b"HTTP/1.1 200 ")
            assert gw.quantities()["bytes_in"] == total
        thread.join(10)


@pytest.mark.usefixtures("shell")
def test_a_client_that_does_not_read_makes_the_upstream_wait() -> None:
    """A large reply is not collected for a slow client."""
    total = 64 * 1024 * 1024  # well above what sockets hold
    written = 0

    def large(request: Received) -> None:
        nonlocal written
        request.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % total)
        for _ in range(total // 65536):
            request.send(b"x" * 65536)
            written += 65536

    with upstream(large) as up, gateway(up.url) as gw:
        with socket.create_connection(("127.0.0.1", gw.port), timeout=20) as client:
            client.sendall(b"GET /v1/x HTTP/1.1\r\nConnection: close\r\n" + AUTH + b"\r\n")
            settled = -1
            while settled != written or not written:  # until the upstream is stuck
                settled = written
                threading.Event().wait(0.3)
            assert written < total // 2
            raw = read_all(client)
        assert len(raw.partition(b"\r\n\r\n")[2]) == total
        assert gw.quantities()["bytes_out"] == total


@pytest.mark.usefixtures("shell")
def test_many_calls_at_once_stay_apart() -> None:
    """Each caller gets its own reply and its own record."""
    with (
        upstream(lambda request: request.reply(request.target)) as up,
        gateway(up.url) as gw,
    ):
        answers: dict[int, bytes] = {}

        def call(number: int) -> None:
            answers[number] = gw.ask(target=f"/v1/{number}")[1]

        threads = [threading.Thread(target=call, args=(number,)) for number in range(30)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert answers == {number: b"/v1/%d" % number for number in range(30)}
        eventually(lambda: len(gw.kept.records) == 30)
        assert len({record.request_id for record in gw.kept.records}) == 30
