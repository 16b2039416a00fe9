"""The bookkeeping of a pool, with a loop and transports that do what the test says."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
)

from gateway.connections import Connection, Home
from gateway.errors import GatewayError, Overloaded, UpstreamTimeout, UpstreamUnavailable
from gateway.pool import Bounds, Dialled, Pool
from gateway.routing import Upstream
from tests.gateway.callers import Hearing

UP = Upstream("http://up:1", b"up:1", b"")
HERE, THERE = "here", "there"


class FakeLoop:
    """Runs what was asked for when told to; its time stands still until told."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self._soon: list[Callable[[], None]] = []

    def call_soon(self, callback: Callable[[], None], /) -> None:
        self._soon.append(callback)

    def time(self) -> float:
        return self.now_s

    def run(self) -> None:
        """One round of the loop after another, until nothing is left to do."""
        while self._soon:
            soon, self._soon = self._soon, []
            for callback in soon:
                callback()


class FakeTransport(asyncio.Transport):
    """Can be closed."""

    def __init__(self) -> None:
        super().__init__()
        self.closing = False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def write(self, data: Any) -> None:
        assert not self.closing

    def is_closing(self) -> bool:
        return self.closing

    def abort(self) -> None:
        self.closing = True


class Dials:
    """Connects under way; the test decides how each ends."""

    def __init__(self) -> None:
        self.pending: list[tuple[Home, Dialled]] = []
        self.begun = 0

    def __call__(self, home: Home, dialled: Dialled) -> None:
        self.begun += 1
        self.pending.append((home, dialled))

    def succeed(self, *, address: object = HERE, dead: bool = False) -> Connection:
        """The oldest one connects; a dead connection is closed again already."""
        home, dialled = self.pending.pop(0)
        connection = Connection(home, address)
        connection.connection_made(FakeTransport())
        if dead:
            connection.eof_received()
        dialled(connection)
        return connection

    def fail(self, error: GatewayError | None = None) -> None:
        """The oldest one fails."""
        self.pending.pop(0)[1](error or UpstreamUnavailable())


class Stage:
    """A pool and what surrounds it."""

    def __init__(self, **bounds: Any) -> None:
        self.loop = FakeLoop()
        self.dials = Dials()
        self.pool = Pool(UP, Bounds(**bounds), self.dials, self.loop)

    def ask(self, count: int = 1) -> list[Hearing]:
        """So many callers, none of whom gets a connection at once."""
        callers = [Hearing() for _ in range(count)]
        assert [self.pool.take(caller) for caller in callers] == [None] * count
        return callers

    def sweep(self, seconds: float) -> None:
        """So much later."""
        self.loop.now_s += seconds
        self.pool.sweep(self.loop.now_s)
        self.loop.run()

    def connected(self) -> tuple[Connection, Hearing]:
        """A caller with a new connection."""
        (caller,) = self.ask()
        connection = self.dials.succeed()
        self.loop.run()
        assert caller.connection is connection
        return connection, caller


def test_the_newest_idle_connection_is_used_first() -> None:
    """So that those that are not needed grow old."""
    stage = Stage()
    connections = [stage.connected()[0] for _ in range(3)]
    for connection in connections:
        connection.release()
    assert [stage.pool.take(Hearing()) for _ in range(3)] == connections[::-1]


def test_what_was_idle_for_too_long_is_closed() -> None:
    """By the sweep; the younger one stays."""
    stage = Stage(keepalive_s=3)
    old, young = stage.connected()[0], stage.connected()[0]
    old.release()
    stage.sweep(2)
    young.release()
    stage.sweep(2)
    assert (stage.pool.open, stage.pool.idle) == (1, 1)
    assert not old.usable
    assert young.usable


def test_an_old_connection_is_not_used_even_before_the_sweep() -> None:
    """The loop may have been busy with something else for long."""
    stage = Stage(keepalive_s=3)
    connection, _ = stage.connected()
    connection.release()
    stage.loop.now_s += 4
    stage.ask()
    assert not connection.usable


def test_a_transport_that_is_closing_is_not_used() -> None:
    """Its end is only not told yet."""
    stage = Stage()
    connection, _ = stage.connected()
    connection.release()
    connection._transport.abort()
    stage.ask()
    assert stage.pool.open == 0


def test_who_waits_is_served_in_order() -> None:
    """First by the connection that comes back, and never past the others."""
    stage = Stage(max_connections=1)
    connection, _ = stage.connected()
    first, second = stage.ask(2)
    connection.release()
    assert not first.heard  # later: not inside release
    (third,) = stage.ask()  # comes while a connection is idle, and goes behind
    stage.loop.run()
    assert [caller.heard for caller in (first, second, third)] == [["connected"], [], []]
    assert connection.reused
    connection.release()
    stage.loop.run()
    assert second.heard == ["connected"]
    assert not third.heard


def test_a_full_queue_is_an_overload() -> None:
    """Told later, not from inside take."""
    stage = Stage(max_connections=1, max_waiting=2)
    stage.connected()
    stage.ask(2)
    (late,) = stage.ask()
    assert not late.heard
    assert stage.pool.outstanding == 3
    stage.loop.run()
    assert isinstance(late.refusal, Overloaded)
    assert stage.pool.figures.overflowed == 1


def test_without_a_queue_connections_are_still_opened() -> None:
    """Its bound is on those for whom none can be opened."""
    stage = Stage(max_connections=2, max_waiting=0)
    stage.connected()
    (second,) = stage.ask()
    (third,) = stage.ask()
    stage.dials.succeed()
    stage.loop.run()
    assert second.heard == ["connected"]
    assert isinstance(third.refusal, Overloaded)


def test_waiting_ends_as_an_overload() -> None:
    """Where all connections were busy the whole time."""
    stage = Stage(max_connections=1, wait_s=5)
    stage.connected()
    (caller,) = stage.ask()
    stage.sweep(4.9)
    assert not caller.heard
    stage.sweep(0.2)
    assert isinstance(caller.refusal, Overloaded)
    assert stage.pool.outstanding == 1


def test_waiting_for_a_connect_ends_as_a_timeout() -> None:
    """Where more connections were allowed, and none came."""
    stage = Stage(max_connecting=1, wait_s=5)
    callers = stage.ask(3)
    stage.sweep(6)
    assert [type(caller.refusal) for caller in callers] == [UpstreamTimeout] * 3
    assert stage.dials.begun == 1


def test_connects_are_bounded() -> None:
    """So many at once, and no more than connections are wanted or allowed."""
    stage = Stage(max_connections=6, max_connecting=4)
    stage.ask(5)
    assert stage.pool.connecting == 4
    stage.ask(5)
    for _ in range(6):
        stage.dials.succeed()
        stage.loop.run()
    assert (stage.pool.open, stage.pool.connecting, stage.pool.waiting) == (6, 0, 4)


def test_a_failed_connect_is_one_callers() -> None:
    """The first who waits; the others have connects of their own."""
    stage = Stage()
    first, second = stage.ask(2)
    stage.dials.fail(UpstreamTimeout())
    assert isinstance(first.refusal, UpstreamTimeout)
    assert not second.heard
    stage.dials.succeed()
    stage.loop.run()
    assert second.heard == ["connected"]


def test_a_failed_connect_nobody_needs_is_nobodys() -> None:
    """Who is served by another connection does not hear of it, nor who still has a connect."""
    stage = Stage()
    connection, _ = stage.connected()
    first, second = stage.ask(2)
    connection.release()
    stage.loop.run()
    stage.dials.fail()
    assert (first.heard, second.heard) == (["connected"], [])
    stage.dials.fail()
    assert isinstance(second.refusal, UpstreamUnavailable)


def test_a_dead_upstream_does_not_dial_for_ever() -> None:
    """One that takes connections and closes them at once costs one connect a caller."""
    stage = Stage(max_connecting=2)
    callers = stage.ask(5)
    while stage.dials.pending:
        stage.dials.succeed(dead=True)
        stage.loop.run()
    assert [type(caller.refusal) for caller in callers] == [UpstreamUnavailable] * 5
    assert stage.dials.begun == 5
    assert (stage.pool.open, stage.pool.outstanding) == (0, 0)


def test_a_connect_whose_caller_gave_up_is_kept() -> None:
    """It ends idle, for the next."""
    stage = Stage()
    (caller,) = stage.ask()
    stage.pool.give_up(caller)
    stage.pool.give_up(caller)
    assert stage.pool.outstanding == 0
    connection = stage.dials.succeed()
    stage.loop.run()
    assert not caller.heard
    assert stage.pool.take(Hearing()) is connection
    assert connection.reused  # it may have been closed since it was opened


def test_who_gave_up_hears_nothing() -> None:
    """Not of a connection that was about to be his, nor of a refusal."""
    stage = Stage(max_connections=1, max_waiting=1)
    connection, _ = stage.connected()
    waiting, refused = stage.ask(2)
    connection.release()
    stage.pool.give_up(waiting)
    stage.pool.give_up(refused)
    stage.loop.run()
    stage.sweep(60)
    assert (waiting.heard, refused.heard) == ([], [])
    assert stage.pool.outstanding == 0


def test_a_closed_connection_makes_room_for_who_waits() -> None:
    """Another is opened at once."""
    stage = Stage(max_connections=1)
    connection, _ = stage.connected()
    (caller,) = stage.ask()
    assert not stage.dials.pending
    connection.close()
    stage.dials.succeed()
    stage.loop.run()
    assert caller.heard == ["connected"]


def test_connections_to_vanished_addresses_end() -> None:
    """Idle ones at once, busy ones when their exchange is over."""
    stage = Stage()
    callers = stage.ask(3)
    gone, busy, stays = (stage.dials.succeed(address=where) for where in (HERE, HERE, THERE))
    stage.loop.run()
    assert all(caller.connection for caller in callers)
    gone.release()
    stays.release()
    stage.pool.keep_only({THERE})
    assert (gone.usable, busy.caller is None, stays.usable) == (False, False, True)
    busy.release()
    assert (stage.pool.open, stage.pool.idle) == (1, 1)


def test_a_retired_pool_keeps_nothing() -> None:
    """But who still knows it is served."""
    stage = Stage()
    idle, busy = stage.connected()[0], stage.connected()[0]
    idle.release()
    stage.pool.retire()
    assert not idle.usable
    busy.release()
    connection, _ = stage.connected()
    connection.release()
    assert (stage.pool.open, stage.pool.outstanding) == (0, 0)


def test_a_probe_connects_and_tells() -> None:
    """A connection that comes of it is kept."""
    stage = Stage()
    heard: list[bool] = []
    stage.pool.probe(heard.append)
    stage.pool.probe(heard.append)
    stage.pool.probe(heard.append)
    stage.dials.succeed()
    stage.dials.fail()
    stage.dials.succeed(dead=True)
    assert heard == [True, False, False]
    assert (stage.pool.idle, stage.pool.connecting) == (1, 0)


def test_a_probe_of_a_full_pool_adds_nothing() -> None:
    """It only asked whether somebody is there."""
    stage = Stage(max_connections=1)
    connection, _ = stage.connected()
    heard: list[bool] = []
    stage.pool.probe(heard.append)
    stage.dials.succeed()
    assert heard == [True]
    assert stage.pool.open == 1
    assert connection.usable


@pytest.mark.anyio
async def test_a_closed_pool_serves_nobody() -> None:
    """Idle connections are closed, who waits or comes is refused, busy ones end by themselves."""
    stage = Stage(max_connections=2)
    idle, busy = stage.connected()[0], stage.connected()[0]
    (waiting,) = stage.ask()
    idle.release()
    stage.loop.run()
    assert waiting.heard == ["connected"]
    (waiting,) = stage.ask()
    await stage.pool.aclose()
    (late,) = stage.ask()
    stage.loop.run()
    assert isinstance(waiting.refusal, UpstreamUnavailable)
    assert isinstance(late.refusal, UpstreamUnavailable)
    busy.release()
    idle.release()
    assert (stage.pool.open, stage.pool.outstanding) == (0, 0)


@pytest.mark.anyio
async def test_a_closing_pool_closes_what_is_idle() -> None:
    """At once."""
    stage = Stage()
    connection, _ = stage.connected()
    connection.release()
    await stage.pool.aclose()
    assert not connection.usable
    assert stage.pool.open == 0


class Retrying(Hearing):
    """Asks again as soon as it is refused."""

    def __init__(self, pool: Pool) -> None:
        super().__init__()
        self.pool = pool

    def not_connected(self, error: GatewayError) -> None:
        super().not_connected(error)
        if len(self.heard) == 1:
            self.pool.take(self)


def test_a_refused_caller_may_ask_again_at_once() -> None:
    """From inside the refusal, whatever led to it."""
    stage = Stage(max_connections=1, max_waiting=0)
    connection, _ = stage.connected()
    caller = Retrying(stage.pool)
    stage.pool.take(caller)
    stage.loop.run()
    assert caller.heard == ["not_connected", "not_connected"]
    connection.close()
    caller = Retrying(stage.pool)
    stage.pool.take(caller)
    stage.dials.fail()
    stage.dials.succeed()
    stage.loop.run()
    assert caller.heard == ["not_connected", "connected"]


class Exchange(Hearing):
    """A caller that checks what it is given. `state`: waiting, busy, or over."""

    def __init__(self, pool: Pool) -> None:
        super().__init__()
        self.state = "waiting"
        got = pool.take(self)
        if got is not None:
            self.have(got)

    def have(self, connection: Connection) -> None:
        assert self.state == "waiting", self.state
        assert connection.usable
        assert connection.caller is self
        self.connection, self.state = connection, "busy"

    def connected(self, connection: Connection) -> None:
        super().connected(connection)
        self.have(connection)

    def not_connected(self, error: GatewayError) -> None:
        super().not_connected(error)
        assert self.state == "waiting", self.state
        self.state = "over"

    def lost(self, error: Exception | None) -> None:
        super().lost(error)
        assert self.state == "busy", self.state
        self.state = "over"


class PoolMachine(RuleBasedStateMachine):
    """Whatever happens in whatever order, the books are right."""

    callers = Bundle("callers")

    def __init__(self) -> None:
        super().__init__()
        self.bounds = Bounds(
            max_connections=3, max_waiting=2, max_connecting=2, keepalive_s=3, wait_s=5
        )
        self.loop = FakeLoop()
        self.dials = Dials()
        self.pool = Pool(UP, self.bounds, self.dials, self.loop)
        self.exchanges: list[Exchange] = []
        self.made: list[Connection] = []
        self.probes = 0

    @initialize(target=callers, count=st.integers(0, 5))
    def begin_busy(self, count: int) -> MultipleResults[Exchange]:
        arrived: list[Any] = [self.arrive() for _ in range(count)]
        while self.dials.pending:
            self.made.append(self.dials.succeed())
            self.loop.run()
        return multiple(*arrived)

    @rule(target=callers)
    def arrive(self) -> Exchange:
        exchange = Exchange(self.pool)
        self.exchanges.append(exchange)
        return exchange

    @rule(caller=callers, how=st.sampled_from(["release", "close", "twice"]))
    def finish(self, caller: Exchange, how: str) -> None:
        if caller.state == "busy":
            assert caller.connection is not None
            caller.state = "over"
            caller.connection.close() if how == "close" else caller.connection.release()
            if how == "twice" and caller.connection.caller is None:
                caller.connection.release()

    @rule(caller=callers)
    def give_up(self, caller: Exchange) -> None:
        if caller.state == "waiting":
            self.pool.give_up(caller)
            caller.state = "over"

    @rule(address=st.sampled_from([HERE, THERE]), dead=st.booleans())
    def dial_succeeds(self, address: str, dead: bool) -> None:
        if self.dials.pending:
            self.made.append(self.dials.succeed(address=address, dead=dead))

    @rule()
    def dial_fails(self) -> None:
        if self.dials.pending:
            self.dials.fail()

    @rule(number=st.integers(0, 5), how=st.sampled_from(["eof", "reset", "data", "dying", "full"]))
    def upstream_acts(self, number: int, how: str) -> None:
        alive = [each for each in self.made if each._open]
        if not alive:
            return
        connection = alive[number % len(alive)]
        if how == "dying":
            connection._transport.abort()
        elif how == "data":
            connection.data_received(b"x")
        elif how == "full":
            connection.pause_writing()
        elif how == "eof":
            connection.eof_received()
        else:
            connection.connection_lost(ConnectionResetError())

    @rule(seconds=st.sampled_from([0.25, 2.0, 6.0]))
    def sweep(self, seconds: float) -> None:
        self.loop.now_s += seconds
        self.pool.sweep(self.loop.now_s)

    @rule()
    def addresses_change(self) -> None:
        self.pool.keep_only({HERE})

    @rule()
    def probe(self) -> None:
        if not self.probes:
            self.probes += 1
            self.pool.probe(self._probed)

    def _probed(self, _: bool) -> None:
        self.probes -= 1

    @rule()
    def run(self) -> None:
        self.loop.run()

    @invariant()
    def bounds_hold(self) -> None:
        bounds, pool = self.bounds, self.pool
        assert pool.open <= bounds.max_connections
        assert pool.connecting == len(self.dials.pending)
        assert pool.connecting <= bounds.max_connecting + self.probes
        assert pool.open + pool.connecting <= bounds.max_connections + self.probes
        assert pool.waiting <= bounds.max_waiting + bounds.max_connections

    @invariant()
    def counts_agree(self) -> None:
        states = [exchange.state for exchange in self.exchanges]
        busy = states.count("busy")
        told_soon = len(self.pool._turned_away)
        assert self.pool.waiting + told_soon == states.count("waiting")
        assert self.pool.outstanding == busy + self.pool.waiting
        assert self.pool.open == busy + self.pool.idle
        assert self.pool.open == len([each for each in self.made if each._open])

    @invariant()
    def nobody_is_forgotten(self) -> None:
        """Who waits has a connect under way, an idle connection about to come, or a full pool."""
        pool = self.pool
        if pool.waiting and not pool._serving:
            full = pool.open + pool.connecting >= self.bounds.max_connections
            assert full or pool.connecting

    def teardown(self) -> None:
        for exchange in self.exchanges:
            ends = [each for each in exchange.heard if each != "received"]
            assert ends.count("connected") + ends.count("not_connected") <= 1
            assert ends.count("lost") <= 1
        self.loop.run()
        while self.dials.pending:
            self.dials.fail()
            self.loop.run()
        self.pool.sweep(self.loop.now_s + 100)
        self.loop.run()
        assert [each for each in self.exchanges if each.state == "waiting"] == []


TestPoolMachine = PoolMachine.TestCase
TestPoolMachine.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)
