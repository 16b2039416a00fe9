"""However a call ends, what it held is settled exactly once: nothing stays reserved, no slot open."""

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from http.client import HTTPException
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection
from websockets.sync.server import ServerConnection

from gateway.limiting import Limiting
from gateway.purse import PackagePurse, Purse, RatePurse, SlotsPurse
from metering.entitlement import EntitledInstance, EntitledKey, EntitlementSnapshot, InstanceStatus
from metering.keys import digest
from metering.lending import account_of
from tests.fakes import FakeClock
from tests.gateway.lender import FakeBank, limits_of
from tests.gateway.running import KEY, Running, gateway
from tests.gateway.talking import dial, talker
from tests.gateway.test_limiting import ACCOUNT, CALL, JSON, REPLY, pack
from tests.gateway.test_websocket_brakes import reports
from tests.servers import Received, eventually, read_until, upstream

ROUNDS = 3
QUOTA = 10**6
BUYER = "sk-buyer"
ACTIVE, FROZEN = InstanceStatus.ACTIVE, InstanceStatus.FROZEN
LIMITS = {"default": {"concurrent": 50, "requests_per_second": 1000, "tokens_per_minute": QUOTA}}
PATH = "/v1/chat/completions"
EVENT = b"data: " + REPLY + b"\n\n"
HEAD = (
    f"POST {PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n"
    f"Content-Type: application/json\r\nContent-Length: {len(CALL)}\r\n\r\n"
).encode()


Client = Callable[[Running, Limiting], None]


@dataclass
class Case:
    """An upstream that misbehaves in one way, and a client who does in another."""

    handler: Callable[[Received], None]
    call: Client
    route: dict[str, Any] = field(default_factory=dict)


@dataclass
class House:
    """A gateway with every kind of limit, and the purses of them that were seen."""

    running: Running
    limits: Limiting
    bank: FakeBank
    seen: set[Purse] = field(default_factory=set)

    def look(self) -> None:
        """Keep what is in use now."""
        self.seen.update(self.limits.desk.active)

    def nothing_is_held(self) -> None:
        """All is given back but what the records say was used."""
        kept, each = self.running.kept, [record.quantities for record in self.running.kept.records]
        used = sum(used["tokens_total"].value for used in each if "tokens_total" in used)
        for purse in self.seen:
            if isinstance(purse, SlotsPurse):
                assert purse.calls == 0
            elif isinstance(purse, PackagePurse):
                assert (purse.reserved, purse.guesses, purse.guessed) == (0, 0, 0)
                assert purse.used == used
            elif "tokens" in purse.name:
                eventually(partial(self._is_spent, purse, used))
        assert not self.limits.desk.waiting
        assert not kept.open or kept.full

    def _is_spent(self, purse: RatePurse, used: int) -> bool:
        return self.bank.rates[purse.name] + purse.spare - purse.owed == purse.burst - used


@contextmanager
def served(url: str, **more: Any) -> Iterator[House]:
    """A gateway before this upstream."""
    bank = FakeBank(left={ACCOUNT: QUOTA})
    terms: dict[str, Any] = {"loop_time": time.monotonic, "go_on_alone": True}
    limits = limits_of(bank, LIMITS, FakeClock(), **terms)
    packages = (pack(stop_mid_stream=True),)
    with gateway(url, limiting=limits, packages=packages, **more) as running:
        yield House(running, limits, bank)


def ask(body: bytes = CALL, method: str = "POST", *, chunked: bool = False) -> Client:
    """A client who waits for the end of it, whatever that is."""

    def call(running: Running, limits: Limiting) -> None:
        with suppress(OSError, HTTPException):
            headers = {"Transfer-Encoding": "chunked"} if chunked else {}
            running.ask(method, PATH, iter([body]) if chunked else body, JSON | headers)

    return call


def leaves(sent: bytes, after: bytes = b"") -> Client:
    """A client who leaves when so much came, and the call holds what it needs."""

    def call(running: Running, limits: Limiting) -> None:
        with socket.create_connection(("127.0.0.1", running.port), timeout=10) as client:
            client.sendall(sent)
            read_until(client, after)
            eventually(lambda: running.kept.open)
            if sent.endswith(CALL):
                eventually(lambda: holding(limits))

    return call


def holding(limits: Limiting) -> bool:
    """Whether a call holds all it needs: its package comes last."""
    return any(isinstance(each, PackagePurse) and each.reserved for each in limits.desk.active)


def replies(body: bytes, status: bytes = b"200 OK") -> Callable[[Received], None]:
    return lambda request: request.reply(body, b"Content-Type: application/json", status=status)


def streams(*, whole: bool) -> Callable[[Received], None]:
    """100 tokens as an event; then the end, or none."""

    def handler(request: Received) -> None:
        request.open_stream()
        request.chunk(EVENT)
        request.chunk(b"") if whole else request.hang_up()

    return handler


def waits(request: Received) -> None:
    """Says nothing until the gateway gives up."""
    request.wait_for_hang_up()


def streams_for_ever(request: Received) -> None:
    request.open_stream()
    request.chunk(EVENT)
    request.wait_for_hang_up()


ABORT = {"on_disconnect": "abort"}
CUT_SHORT = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 999\r\n\r\n{"


def cuts_short(request: Received) -> None:
    request.send(CUT_SHORT)
    request.hang_up()


ENDS = {
    "as expected": Case(replies(REPLY), ask()),
    "more than expected": Case(replies(REPLY), ask(b'{"max_tokens": 1}')),
    "of unknown size": Case(replies(REPLY), ask(b"{}")),
    "without usage": Case(replies(b"{}"), ask()),
    "without a body": Case(replies(b"", b"204 No Content"), ask()),
    "chunked request": Case(replies(REPLY), ask(chunked=True)),
    "server error": Case(replies(b"{}", b"500 Oh No"), ask()),
    "client error": Case(replies(b"{}", b"429 Too Many"), ask()),
    "no reply": Case(Received.hang_up, ask()),
    "no reply to what may be sent again": Case(Received.hang_up, ask(b"", "GET")),
    "no sense": Case(lambda request: request.send(b"nonsense\r\n\r\n"), ask()),
    "cut short": Case(cuts_short, ask()),
    "stream": Case(streams(whole=True), ask()),
    "stream with usage asked for": Case(streams(whole=True), ask(b'{"stream": true}')),
    "stream cut short": Case(streams(whole=False), ask()),
    "too slow": Case(waits, ask(), {"timeouts": {"head": 0.2}}),
    "too slow in the middle": Case(streams_for_ever, ask(), {"timeouts": {"idle": 0.2}}),
    "client leaves before the reply": Case(waits, leaves(HEAD + CALL), {"usage": ABORT}),
    "client leaves and it is read on": Case(waits, leaves(HEAD + CALL), {"timeouts": {"head": 1}}),
    "client leaves with half a request": Case(waits, leaves(HEAD + CALL[:5])),
    "client leaves in the middle": Case(
        streams_for_ever, leaves(HEAD + CALL, b"usage"), {"usage": ABORT}
    ),
}


@pytest.mark.parametrize("end", ENDS)
def test_nothing_stays_held(shell: str, end: str) -> None:
    """Again and again."""
    case = ENDS[end]
    with upstream(case.handler) as server, served(server.url, **case.route) as house:
        for _ in range(ROUNDS):
            case.call(house.running, house.limits)
            house.look()
            house.running.idle()
        kinds = {type(purse) for purse in house.seen}
        assert kinds == {PackagePurse, RatePurse, SlotsPurse} or "half" in end
        house.nothing_is_held()


def test_nothing_stays_held_where_nobody_listens(shell: str) -> None:
    """502."""
    with served("http://127.0.0.1:1") as house:
        for _ in range(ROUNDS):
            assert house.running.ask("POST", PATH, CALL, JSON)[0].status == 502
            house.look()
            house.running.idle()
        house.nothing_is_held()


@pytest.mark.parametrize("whole", [True, False])
def test_nothing_stays_held_of_what_cannot_be_recorded(shell: str, whole: bool) -> None:
    """The journal is full: the reply is cut, or never comes, and nothing will be deducted."""
    handler = replies(REPLY) if whole else streams(whole=True)
    with upstream(handler) as server, served(server.url) as house:
        ask()(house.running, house.limits)
        house.look()
        house.running.idle()
        house.running.kept.full = True
        for _ in range(ROUNDS):
            ask()(house.running, house.limits)
            house.running.idle()
        assert len(house.running.kept.records) == 1
        house.nothing_is_held()


def test_nothing_is_taken_for_what_cannot_be_noted(shell: str) -> None:
    """503, before any limit is looked at."""
    with upstream(replies(REPLY)) as server, served(server.url) as house:
        house.running.kept.shut = True
        assert house.running.ask("POST", PATH, CALL, JSON)[0].status == 503
        assert not house.limits.desk.active
        assert house.running.telemetry.open_exchanges == 0


@pytest.mark.parametrize("begun", [True, False])
def test_nothing_stays_held_of_calls_that_may_not_go_on(shell: str, begun: bool) -> None:
    """A freeze: what was reported so far is used."""
    handler = streams_for_ever if begun else waits
    settings = {"streams_on_stop": "cut"}

    def froze(running: Running, limits: Limiting) -> None:
        with socket.create_connection(("127.0.0.1", running.port), timeout=10) as client:
            client.sendall(HEAD.replace(KEY.encode(), BUYER.encode()) + CALL)
            eventually(lambda: holding(limits))
            if begun:
                read_until(client, b"usage")
            running.in_loop(lambda: tell(running, FROZEN))
            running.idle()
            running.in_loop(lambda: tell(running, ACTIVE))

    with upstream(handler) as server, served(server.url, settings=settings) as house:
        house.bank.left[account_of("buyer", "T")] = QUOTA
        house.running.in_loop(lambda: tell(house.running, ACTIVE))
        for _ in range(ROUNDS):
            froze(house.running, house.limits)
            house.look()
        house.nothing_is_held()
        assert len(house.running.kept.records) == (ROUNDS if begun else 0)


def tell(running: Running, status: InstanceStatus) -> None:
    """What the control plane says of the customer."""
    keys = (EntitledKey("k", digest(b"pepper", BUYER)),)
    bought = tuple(EntitledInstance(f"i-{each}", each, status) for each in ("T", "PACK"))
    running.directory.put(EntitlementSnapshot("buyer", "", keys, bought))
    running.public.cutting.look()


def through_it(client: ClientConnection) -> None:
    client.send("more")
    client.recv(timeout=10)


def hangs_up(connection: ServerConnection) -> None:
    """Uses 100 tokens, and is gone."""
    used = {"input_tokens": 60, "output_tokens": 40}
    connection.recv()
    connection.send(json.dumps({"type": "response.done", "response": {"usage": used}}))
    connection.socket.shutdown(socket.SHUT_RDWR)


def closes(client: ClientConnection) -> None:
    through_it(client)
    client.close()


def vanishes(client: ClientConnection) -> None:
    through_it(client)
    client.socket.shutdown(socket.SHUT_RDWR)


def is_left(client: ClientConnection) -> None:
    through_it(client)
    with suppress(ConnectionClosed):
        client.recv(timeout=10)


SESSIONS: dict[str, tuple[Any, Callable[[ClientConnection], None]]] = {
    "closed by the client": (reports, closes),
    "broken by the client": (reports, vanishes),
    "broken by the upstream": (hangs_up, is_left),
    "not used": (reports, ClientConnection.close),
}


@pytest.mark.parametrize("end", SESSIONS)
def test_nothing_stays_held_of_sessions(end: str) -> None:
    """WebSockets, however they end, in several stretches."""
    handler, client_does = SESSIONS[end]
    settings = {"websocket": {"record_every": 0.1}}
    with talker(handler) as up, served(up.url, settings=settings) as house:
        for number in range(ROUNDS):
            with suppress(ConnectionClosed, OSError), dial(house.running) as client:
                client_does(client)
            house.look()
            house.running.idle()
            assert len(house.running.kept.records) > number
        house.nothing_is_held()


def test_nothing_stays_held_of_sessions_that_never_began() -> None:
    """Refused by the upstream, or not answered at all."""
    with (
        upstream(replies(b"no", b"403 Forbidden")) as server,
        served(server.url) as house,
    ):
        for _ in range(ROUNDS):
            with pytest.raises(InvalidStatus):
                dial(house.running)
            house.look()
            house.running.idle()
        house.nothing_is_held()
