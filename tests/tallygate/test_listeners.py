import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

import anyio
import httpx
import pytest
from anyio.abc import TaskGroup
from starlette.types import Message, Receive, Scope, Send

from tallygate.addresses import Address
from tallygate.listeners import Listener, QuietUvicorn, address_of, bind, serve
from tallygate.stopping import Stop

LOCAL = Address("127.0.0.1", 0)


def test_port_zero_is_any_port() -> None:
    """The socket says which one it got."""
    with bind(LOCAL) as bound:
        assert address_of(bound).port > 0


def test_a_taken_address_is_named() -> None:
    """The text says which, and why."""
    with bind(LOCAL) as bound:
        taken = address_of(bound)
        with pytest.raises(OSError, match=f"^cannot listen on {taken}: Address already in use$"):
            bind(taken)


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a..b", "x" * 100])
def test_a_host_that_does_not_exist_is_named(host: str) -> None:
    """Also one that cannot be a host name at all."""
    with pytest.raises(OSError, match=f"cannot listen on {host}:80"):
        bind(Address(host, 80))


def test_a_socket_may_be_passed_on_and_keeps_small_replies_quick() -> None:
    """Who gets it knows that it is TCP, without which asyncio leaves Nagle's delay on."""
    with bind(LOCAL) as bound, socket.socket(fileno=bound.detach()) as passed_on:
        assert passed_on.proto == socket.IPPROTO_TCP


@dataclass
class Slow:
    """Begins a reply at once and ends it when told; remembers how its requests ended."""

    go_on: anyio.Event = field(default_factory=anyio.Event)
    begun: anyio.Event = field(default_factory=anyio.Event)
    ends: list[str] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await live(receive, send)
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send(body(b"one ", more=True))
        self.begun.set()
        try:
            await self.go_on.wait()
        except BaseException:
            self.ends.append("cut")
            raise
        await send(body(b"two"))
        self.ends.append("whole")


def body(data: bytes, *, more: bool = False) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": more}


async def live(receive: Receive, send: Send) -> None:
    for step in ("startup", "shutdown"):
        await receive()
        await send({"type": f"lifespan.{step}.complete"})


async def healthy(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers at once."""
    if scope["type"] == "lifespan":
        await live(receive, send)
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send(body(b"ok"))


@dataclass
class Served:
    """Two listeners in this loop, and how to stop them."""

    public: str
    admin: str
    stop: Stop
    over: anyio.Event
    group: TaskGroup


@asynccontextmanager
async def served(app: Slow, drain_s: float) -> AsyncIterator[Served]:
    stop, over = Stop(), anyio.Event()
    with bind(LOCAL) as public, bind(LOCAL) as admin:
        listeners = [Listener(app, public), Listener(healthy, admin)]

        async def run() -> None:
            await serve(listeners, stop, drain_s=drain_s)
            over.set()

        with anyio.fail_after(10):
            async with anyio.create_task_group() as group:
                group.start_soon(run)
                urls = [f"http://{address_of(bound)}" for bound in (public, admin)]
                yield Served(urls[0], urls[1], stop, over, group)
                stop()


@pytest.mark.anyio
async def test_an_open_reply_is_finished_and_the_operator_looks_on() -> None:
    """Told to stop, nobody new is served; who is being served gets the rest."""
    app = Slow()
    async with served(app, 30) as running, httpx.AsyncClient() as http:
        async with http.stream("GET", running.public) as reply:
            await app.begun.wait()
            running.stop()
            await refused(running.public)
            assert (await http.get(running.admin)).text == "ok"
            assert not running.over.is_set()
            app.go_on.set()
            assert await reply.aread() == b"one two"
        await running.over.wait()
        await refused(running.admin)
    assert app.ends == ["whole"]


@pytest.mark.anyio
async def test_without_an_owner_the_operators_address_is_free_at_once() -> None:
    """Its successor wants it; who is being served gets the rest all the same."""
    app = Slow()
    async with served(app, 30) as running, httpx.AsyncClient() as http:
        async with http.stream("GET", running.public) as reply:
            await app.begun.wait()
            running.stop.orphaned = True
            running.stop()
            await refused(running.public)
            await refused(running.admin)
            app.go_on.set()
            assert await reply.aread() == b"one two"
        await running.over.wait()
    assert app.ends == ["whole"]


@pytest.mark.anyio
async def test_who_has_connected_but_not_asked_yet_is_served() -> None:
    """He did not know; a client takes it for an error when nobody answers on a new connection."""
    app = Slow()
    app.go_on.set()
    async with served(app, 30) as running:
        await app_is_up(running.admin)
        port = int(httpx.URL(running.public).port or 0)
        async with await anyio.connect_tcp("127.0.0.1", port) as connection:
            await anyio.sleep(0.02)  # accepted by now
            running.stop()
            await anyio.sleep(0.12)  # uvicorn alone would have closed it by now
            await connection.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await connection.receive()).startswith(b"HTTP/1.1 200")


async def app_is_up(url: str) -> None:
    async with httpx.AsyncClient() as http:
        assert (await http.get(url)).text == "ok"


@pytest.mark.anyio
async def test_others_on_the_same_socket_are_not_disturbed() -> None:
    """Closing a copy of a shared socket stops nobody else from accepting."""
    with bind(LOCAL) as shared, bind(LOCAL) as admin, bind(LOCAL) as other_admin:
        url = f"http://{address_of(shared)}"
        stops = [Stop(), Stop()]
        with shared.dup() as copy, anyio.fail_after(10):
            async with anyio.create_task_group() as group, httpx.AsyncClient() as http:
                for bound, beside, stop in (
                    (copy, admin, stops[0]),
                    (shared, other_admin, stops[1]),
                ):
                    pair = [Listener(healthy, bound), Listener(healthy, beside)]
                    group.start_soon(partial(serve, pair, stop, drain_s=1))
                stops[0]()
                await refused(f"http://{address_of(admin)}")
                for _ in range(20):
                    assert (await http.get(url, headers={"Connection": "close"})).text == "ok"
                stops[1]()


async def refused(url: str) -> None:
    """Return when nobody accepts connections there any more."""
    port = httpx.URL(url).port
    while True:
        try:
            async with await anyio.connect_tcp("127.0.0.1", int(port or 0)):
                await anyio.sleep(0.01)
        except OSError:
            return


@pytest.mark.anyio
@pytest.mark.parametrize("hurried", [True, False], ids=["told twice", "time is up"])
async def test_who_takes_too_long_is_cut_off(
    hurried: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """When told twice or when time is up; serving ends after the request, and without a trace."""
    app = Slow()
    caplog.handler.addFilter(QuietUvicorn())
    async with served(app, 30 if hurried else 1) as running, httpx.AsyncClient() as http:
        async with http.stream("GET", running.public) as reply:
            await app.begun.wait()
            running.stop()
            if hurried:
                running.stop()
            with pytest.raises(httpx.RemoteProtocolError):
                await reply.aread()
        await running.over.wait()
        assert app.ends == ["cut"]
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.anyio
async def test_a_listener_that_cannot_start_ends_the_others() -> None:
    """Half a plane would look alive and serve nobody."""

    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no"})

    with bind(LOCAL) as public, bind(LOCAL) as admin, anyio.fail_after(10):
        with pytest.RaisesGroup(OSError, flatten_subgroups=True) as failure:
            await serve([Listener(healthy, public), Listener(broken, admin)], Stop(), drain_s=1)
        assert failure.group_contains(OSError, match=f"{address_of(admin)} did not start")


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("ASGI callable returned without completing response.", False),
        ("ASGI callable returned without starting response.", True),
        ("Exception in ASGI application\n", True),
    ],
)
def test_only_what_is_done_on_purpose_is_left_unsaid(message: str, shown: bool) -> None:
    """Cutting a client off is our way of saying that a reply is not whole."""
    record = logging.makeLogRecord({"msg": message})
    assert QuietUvicorn().filter(record) is shown
