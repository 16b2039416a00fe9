"""However an exchange ends: upstreams that fail, clients that leave, servers that stop."""

import json
import socket
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import httpx
import pytest
from anyio.lowlevel import checkpoint
from pydantic import SecretStr
from starlette.types import Message

from gateway.admission import Directory
from gateway.credentials import Networks
from gateway.disconnect import Drains
from gateway.gate import Gate, Served
from gateway.proxy import Proxy
from gateway.routing import RouteTable
from gateway.settings import Customer, Route
from gateway.telemetry import Telemetry
from gateway.upstream import Upstreams
from gateway.workings import Workings
from metering.usage import Grade, Outcome, Quantity
from tests.asgi import Driver
from tests.fakes import FakeClock, Ids
from tests.gateway.running import Kept, Running, gateway
from tests.servers import Received, ask, eventually, read_until, upstream

USAGE = b'data: {"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}}\n\n'
HELLO = b'data: {"choices":[]}\n\n'
GET = b"GET /v1/x HTTP/1.1\r\nHost: gw\r\nX-Api-Key: sk-test\r\n\r\n"
POST = GET.replace(b"GET", b"POST").replace(b"\r\n\r\n", b"\r\nContent-Length: 2\r\n\r\n{}")
FAST = {"connect": 5, "head": 0.3, "idle": 0.3}


def code_of(body: bytes) -> str:
    """The code of the gateway's own error body."""
    code: str = json.loads(body)["error"]["code"]
    return code


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


# Upstreams that fail


@pytest.mark.usefixtures("shell")
def test_an_upstream_that_refuses_is_a_502() -> None:
    """Nothing was served, so nothing is recorded."""
    with gateway(f"http://127.0.0.1:{free_port()}") as gw:
        reply, body = gw.ask("POST", body=b"{}")
        assert (reply.status, code_of(body)) == (502, "upstream_unreachable")
        gw.idle()
        assert gw.kept.records == []
        assert gw.telemetry.upstream_errors["chat", "upstream_unreachable"] == 1


@pytest.mark.usefixtures("shell")
@pytest.mark.parametrize(
    "raw",
    [b"", b"what is this?\r\n\r\n", b"HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n"],
)
def test_an_upstream_that_speaks_no_http_is_a_502(raw: bytes) -> None:
    """Closed without a word, nonsense, and a status no server may send."""

    def odd(request: Received) -> None:
        request.send(raw)
        request.hang_up()

    with upstream(odd) as up, gateway(up.url) as gw:
        reply, body = gw.ask()
        assert (reply.status, code_of(body)) == (502, "upstream_protocol")
        gw.idle()
        assert gw.kept.records == []


@pytest.mark.usefixtures("shell")
def test_an_upstream_that_does_not_answer_is_a_504() -> None:
    """The time to the reply's head is bounded, and the upstream is let go."""
    gone = threading.Event()

    def silent(request: Received) -> None:
        request.wait_for_hang_up()
        gone.set()

    with upstream(silent) as up, gateway(up.url, timeouts=FAST) as gw:
        reply, body = gw.ask()
        assert (reply.status, code_of(body)) == (504, "upstream_timeout")
        assert gone.wait(10)
        gw.idle()
        assert gw.kept.records == []


@pytest.mark.usefixtures("shell")
@pytest.mark.parametrize("hangs", [True, False])
def test_a_reply_that_breaks_off_is_cut_for_the_client_too(hangs: bool) -> None:
    """Whether the upstream closes or falls silent: no clean end, one partial record."""

    def torso(request: Received) -> None:
        request.open_stream()
        request.chunk(USAGE)
        if hangs:
            request.wait_for_hang_up()
        request.hang_up()

    with upstream(torso) as up, gateway(up.url, timeouts=FAST) as gw:
        raw = ask(gw.port, GET)
        assert USAGE in raw
        assert not raw.endswith(b"0\r\n\r\n")
        record = gw.record()
        assert record.outcome is Outcome.UPSTREAM_CUT
        assert record.quantities["tokens_total"] == Quantity(7, Grade.PARTIAL)
        assert gw.telemetry.upstream_errors["chat", "cut"] == 1


@pytest.mark.usefixtures("shell")
def test_a_reply_shorter_than_announced_is_cut_too() -> None:
    """The client must not take it for the whole."""

    def short(request: Received) -> None:
        request.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        request.hang_up()

    with upstream(short) as up, gateway(up.url) as gw:
        raw = ask(gw.port, GET)
        assert raw.endswith(b"\r\n\r\nhalf")
        assert gw.record().outcome is Outcome.UPSTREAM_CUT


@pytest.mark.usefixtures("shell")
def test_a_client_that_sends_no_body_is_told_so() -> None:
    """It announced one; the upstream is not blamed for it."""
    head = b"POST /v1/x HTTP/1.1\r\nHost: gw\r\nX-Api-Key: sk-test\r\nContent-Length: 5\r\n\r\n"
    with upstream(lambda request: None) as up, gateway(up.url, timeouts=FAST) as gw:
        raw = ask(gw.port, head + b"ab")
        assert raw.startswith(b"HTTP/1.1 408 ")
        assert code_of(raw.partition(b"\r\n\r\n")[2]) == "request_timeout"
        gw.idle()
        assert gw.kept.records == []


# Clients that leave


class Telling:
    """An upstream that sends one event, waits until told, and then sends the usage."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.was_left = threading.Event()

    def __call__(self, request: Received) -> None:
        request.open_stream()
        request.chunk(HELLO)
        assert self.go_on.wait(10)
        request.chunk(USAGE)
        request.chunk(b"data: [DONE]\n\n")
        request.chunk(b"")

    def waiting(self, request: Received) -> None:
        """Send one event and wait for the other side to close."""
        request.open_stream()
        request.chunk(HELLO)
        request.wait_for_hang_up()
        self.was_left.set()


def leave_midway(gw: Running) -> None:
    """Read the first event of a stream and hang up."""
    with socket.create_connection(("127.0.0.1", gw.port), timeout=10) as client:
        client.sendall(GET)
        read_until(client, HELLO)
    eventually(lambda: gw.telemetry.disconnects["chat",] == 1)


def test_a_reply_is_read_to_its_end_when_the_client_leaves(shell: str) -> None:
    """Policy drain: the usage is complete, and there is one record."""
    upstream_says = Telling()
    with upstream(upstream_says) as up, gateway(up.url) as gw:
        leave_midway(gw)
        assert gw.telemetry.drains_active == 1
        assert gw.kept.records == []
        upstream_says.go_on.set()
        record = gw.record()
        assert record.outcome is Outcome.CLIENT_LEFT
        assert record.quantities["tokens_total"] == Quantity(7)
        assert record.quantities["bytes_out"] == Quantity(len(HELLO))
        assert (gw.telemetry.drains_active, gw.telemetry.drains_capped) == (0, 0)
        gw.ask()
        if shell == "linerate":  # the portable shell uses none again
            assert up.connections == 1  # the drained connection was whole


@pytest.mark.usefixtures("shell")
def test_the_upstream_is_left_when_the_client_leaves() -> None:
    """Policy abort: it is closed at once, and there is one record."""
    upstream_says = Telling()
    abort = {"on_disconnect": "abort"}
    with upstream(upstream_says.waiting) as up, gateway(up.url, usage=abort) as gw:
        leave_midway(gw)
        assert upstream_says.was_left.wait(10)
        record = gw.record()
        assert record.outcome is Outcome.CLIENT_LEFT
        assert record.quantities["tokens_total"] == Quantity(0, Grade.MISSING)
        assert record.quantities["requests"] == Quantity(1)


@pytest.mark.usefixtures("shell")
@pytest.mark.parametrize("call", [GET, POST])
@pytest.mark.parametrize("policy", ["drain", "abort"])
def test_a_client_that_leaves_before_the_reply_is_one_record(policy: str, call: bytes) -> None:
    """Drained it is what was used; aborted it is an entry without usage."""
    asked, go_on = threading.Event(), threading.Event()

    def late(request: Received) -> None:
        asked.set()
        if policy == "abort":
            request.wait_for_hang_up()
            return
        assert go_on.wait(10)
        request.json(USAGE.removeprefix(b"data: "))

    with upstream(late) as up, gateway(up.url, usage={"on_disconnect": policy}) as gw:
        with socket.create_connection(("127.0.0.1", gw.port), timeout=10) as client:
            client.sendall(call)
            assert asked.wait(10)
        eventually(lambda: gw.telemetry.disconnects["chat",] == 1)
        go_on.set()
        record = gw.record()
        assert record.outcome is Outcome.CLIENT_LEFT
        if policy == "drain":
            assert (record.status, record.quantities["tokens_total"]) == (200, Quantity(7))
        else:
            assert (record.status, record.quantities) == (499, {})


@pytest.mark.usefixtures("shell")
def test_half_a_request_is_not_completed_for_its_client() -> None:
    """The upstream is left too, whatever the policy."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(10)
        with gateway(f"http://127.0.0.1:{listener.getsockname()[1]}") as gw:
            head = b"POST /v1/x HTTP/1.1\r\nHost: gw\r\nX-Api-Key: sk-test\r\n"
            with socket.create_connection(("127.0.0.1", gw.port), timeout=10) as client:
                client.sendall(head + b"Content-Length: 50\r\n\r\nhalf")
                connection, _ = listener.accept()
                connection.settimeout(10)
                read_until(connection, b"half")
            with connection:
                assert connection.recv(100) == b""
            assert (gw.record().status, gw.record().quantities) == (499, {})


@pytest.mark.usefixtures("shell")
def test_a_client_that_reads_nothing_is_left() -> None:
    """It counts as gone after the idle time; what it was handed counts as handed."""

    def endless(request: Received) -> None:
        request.open_stream()
        while not request.closed:
            request.chunk(b": " + b"x" * 65536 + b"\n\n")
            request.closed = gw.telemetry.disconnects["chat",] > 0

    with (
        upstream(endless) as up,
        gateway(up.url, timeouts=FAST) as gw,
        socket.create_connection(("127.0.0.1", gw.port), timeout=10) as client,
    ):
        client.sendall(GET)
        assert gw.record().outcome is Outcome.CLIENT_LEFT
        assert client.recv(10) == b"HTTP/1.1 2"


# Moments that only a driver can choose


Events = Callable[[], AsyncIterator[bytes]]


class Script(httpx.AsyncBaseTransport):
    """An upstream inside the process: every reply is the stream the test wrote."""

    def __init__(self, events: Events) -> None:
        self.events = events
        self.closed = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        headers = {"content-type": "text/event-stream"}
        return httpx.Response(200, headers=headers, stream=_Body(self))


class _Body(httpx.AsyncByteStream):
    def __init__(self, script: Script) -> None:
        self._script = script

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for event in self._script.events():
            yield event

    async def aclose(self) -> None:
        await checkpoint()
        self._script.closed = True


class Broken(Script):
    """An upstream with a bug in it."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        raise RuntimeError("secret detail")


class Stage:
    """A proxy whose upstream, recorder and bounds the test owns."""

    def __init__(self, script: Script, *, policy: str = "drain", **bounds: Any) -> None:
        settings = {"name": "chat", "path": "/", "upstream": ["http://up"]}
        route = Route.model_validate(settings | {"usage": {"on_disconnect": policy}})
        directory = Directory(b"pepper", [Customer(id="cust-1", keys=[SecretStr("sk-test")])])
        self.kept, self.telemetry, self.script = Kept(), Telemetry(), script
        self.proxy = Proxy(
            Gate(
                Served(RouteTable([route]), directory, Networks([]), Networks([])),
                FakeClock().now_ms,
            ),
            Ids("request-"),
            Workings(
                Upstreams(self.script),
                self.kept,
                FakeClock(),
                self.telemetry,
                Drains(self.telemetry, **bounds),
            ),
        )


async def forever() -> AsyncIterator[bytes]:
    """One event, and then nothing any more."""
    yield HELLO
    await anyio.sleep_forever()


async def endless() -> AsyncIterator[bytes]:
    """Ever more events."""
    while True:
        yield HELLO
        await checkpoint()


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("body", "bounds"),
    [(forever, {"seconds": 0.05}), (endless, {"max_bytes": 500}), (forever, {"at_once": 0})],
)
async def test_a_drain_ends_at_its_bounds(body: Events, bounds: Any) -> None:
    """Time, bytes, and how many at once; the upstream is closed, one record written."""
    stage = Stage(Script(body), **bounds)
    driver = Driver(stage.proxy)
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(driver.run)
            await driver.until_sent(2)
            driver.leave()
    (record,) = stage.kept.records
    assert record.outcome is Outcome.CLIENT_LEFT
    assert (stage.telemetry.drains_capped, stage.telemetry.drains_active) == (1, 0)
    assert stage.script.closed
    assert not driver.ended


@pytest.mark.anyio
async def test_a_client_that_left_its_own_request_unfinished_is_not_drained_for() -> None:
    """The upstream answered early; what it answered is half a request."""
    stage = Stage(Script(forever))
    headers = [(b"host", b"gw"), (b"x-api-key", b"sk-test"), (b"content-length", b"9")]
    driver = Driver(stage.proxy, method="POST", headers=headers)
    driver.body(b"half", more=True)
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(driver.run)
            await driver.until_sent(2)
            driver.leave()
    assert [record.outcome for record in stage.kept.records] == [Outcome.CLIENT_LEFT]
    assert stage.telemetry.drains_capped == 0


@pytest.mark.anyio
async def test_a_client_that_has_everything_may_leave() -> None:
    """While the last bytes are on their way the exchange is over, and complete."""

    async def events() -> AsyncIterator[bytes]:
        yield USAGE

    class Leaving(Driver):
        async def send(self, message: Message) -> None:
            await super().send(message)
            if self.ended:
                self.leave()
                for _ in range(10):
                    await checkpoint()

    stage = Stage(Script(events))
    await Leaving(stage.proxy).run()
    assert [record.outcome for record in stage.kept.records] == [Outcome.COMPLETE]
    assert stage.telemetry.disconnects["chat",] == 0


@pytest.mark.anyio
async def test_a_send_that_fails_says_that_the_client_left() -> None:
    """ASGI 2.4 servers raise OSError."""

    class Gone(Driver):
        async def send(self, message: Message) -> None:
            if len(self.sent) == 2:
                raise BrokenPipeError
            await super().send(message)

    async def events() -> AsyncIterator[bytes]:
        for event in (HELLO, HELLO, USAGE, b"data: [DONE]\n\n"):
            yield event

    stage = Stage(Script(events))
    await Gone(stage.proxy).run()
    (record,) = stage.kept.records
    assert record.outcome is Outcome.CLIENT_LEFT
    assert record.quantities["tokens_total"] == Quantity(7)
    assert stage.telemetry.disconnects["chat",] == 1


@pytest.mark.anyio
async def test_a_server_that_stops_still_gets_the_record_written() -> None:
    """Cancelled from outside in the middle of a stream."""
    stage = Stage(Script(forever))
    driver = Driver(stage.proxy)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(driver.run)
        await driver.until_sent(2)
        tasks.cancel_scope.cancel()
    (record,) = stage.kept.records
    assert record.outcome is Outcome.CLIENT_LEFT
    assert stage.script.closed
    assert stage.telemetry.open_exchanges == 0


@pytest.mark.anyio
async def test_a_bug_is_a_500_without_a_trace() -> None:
    """The log has it, the client gets the documented body, nothing is recorded."""

    stage = Stage(Broken(forever))
    driver = Driver(stage.proxy)
    await driver.run()
    assert [message.get("status") for message in driver.sent] == [500, None]
    assert code_of(driver.sent[1]["body"]) == "internal_error"
    assert b"secret" not in driver.sent[1]["body"]
    assert stage.kept.records == []


@pytest.mark.anyio
async def test_the_last_bytes_wait_for_the_record() -> None:
    """At the moment a reply becomes whole, its record exists."""

    async def events() -> AsyncIterator[bytes]:
        yield HELLO
        yield USAGE

    class Checking(Driver):
        async def send(self, message: Message) -> None:
            await super().send(message)
            assert len(stage.kept.records) == self.ended

    stage = Stage(Script(events))
    driver = Checking(stage.proxy)
    await driver.run()
    assert driver.ended


@pytest.mark.anyio
async def test_a_client_may_leave_at_any_moment_for_one_record() -> None:
    """Before the reply, after each of its messages, and after its end."""

    async def events() -> AsyncIterator[bytes]:
        for event in (HELLO, USAGE, b"data: [DONE]\n\n"):
            await checkpoint()
            yield event

    for policy in ("drain", "abort"):
        for moment in range(6):
            stage = Stage(Script(events), policy=policy)
            driver = Driver(stage.proxy)

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(driver.run)
                for _ in range(moment * 2):
                    await checkpoint()
                if moment < 5:
                    driver.leave()
            assert len(stage.kept.records) == 1, (policy, moment)
            assert stage.telemetry.open_exchanges == 0


@pytest.mark.anyio
async def test_websockets_are_turned_away() -> None:
    """They are not metered yet, so they are not served."""
    driver = Driver(Stage(Script(forever)).proxy, type="websocket")
    await driver.run()
    assert driver.sent == [{"type": "websocket.close", "code": 1008}]
