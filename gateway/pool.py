"""The connections to one upstream, and the callers who wait for one.

Nothing here waits or opens sockets: connects are begun by `dial`, which reports later, and
`sweep` ends what took too long. Idle connections are used newest first.
"""

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Protocol

from gateway.connections import Caller, Connection, Home
from gateway.errors import GatewayError, Overloaded, UpstreamTimeout, UpstreamUnavailable
from gateway.routing import Upstream

log = logging.getLogger("tallygate.gateway")

Dialled = Callable[[Connection | GatewayError], None]
Dial = Callable[[Home, Dialled], None]  # begins one connect; the end is told once, and later


class Loop(Protocol):
    """What is used of an event loop."""

    def call_soon(self, callback: Callable[[], None], /) -> object: ...

    def time(self) -> float: ...


@dataclass(frozen=True, slots=True)
class Bounds:
    """Of one pool. `wait_s` is how long a caller waits, `keepalive_s` how long a connection."""

    max_connections: int = 1024
    max_waiting: int = 1024  # callers beyond those for whom a connection can still be opened
    max_connecting: int = 64
    keepalive_s: float = 3.0
    wait_s: float = 5.0


@dataclass(slots=True)
class Figures:
    """What a pool has done so far."""

    opened: int = 0
    unreachable: int = 0  # connects that failed
    overflowed: int = 0  # callers who were told Overloaded


class Pool:
    """`outstanding` are the callers who have a connection or wait for one."""

    def __init__(self, upstream: Upstream, bounds: Bounds, dial: Dial, loop: Loop) -> None:
        self.upstream = upstream
        self.origin = upstream.origin
        self.outstanding = 0
        self.reused = 0  # calls on a connection that was open already
        self.figures = Figures()
        self._bounds = bounds
        self._dial = dial
        self._loop = loop
        self._time = loop.time
        self._keepalive_s = bounds.keepalive_s
        self._connections: set[Connection] = set()
        self._idle: dict[Connection, None] = {}  # the newest at the end
        self._waiting: dict[int, tuple[Caller, float]] = {}  # by identity: caller, deadline
        self._turned_away: dict[int, tuple[Caller, GatewayError]] = {}  # not told yet
        self._connecting = 0
        self._serving = False
        self._retired = False
        self._closed = False

    @property
    def open(self) -> int:
        """Connections, idle or not."""
        return len(self._connections)

    @property
    def idle(self) -> int:
        """Connections nobody uses."""
        return len(self._idle)

    @property
    def waiting(self) -> int:
        """Callers without a connection."""
        return len(self._waiting)

    @property
    def connecting(self) -> int:
        """Connects under way."""
        return self._connecting

    # For callers

    def take(self, caller: Caller) -> Connection | None:
        """An idle connection, or None: `connected` or `not_connected` follows, later."""
        if self._idle and not self._waiting:
            newest = self._idle.popitem()[0]
            connection: Connection | None = newest
            if not newest.usable or newest.idle_since_s < self._time() - self._keepalive_s:
                newest.close()
                connection = self._newest()
            if connection is not None:
                connection.caller = caller
                connection.reused = True
                self.outstanding += 1
                self.reused += 1
                return connection
        self._queue(caller)
        return None

    def give_up(self, caller: Caller) -> None:
        """It waits no longer, and hears nothing more."""
        if self._waiting.pop(id(caller), None) is not None:
            self.outstanding -= 1
        self._turned_away.pop(id(caller), None)

    def _queue(self, caller: Caller) -> None:
        bounds = self._bounds
        if self._closed:
            self._turn_away(caller, UpstreamUnavailable())
        elif len(self._waiting) >= bounds.max_waiting + bounds.max_connections - self.open:
            self.figures.overflowed += 1
            self._turn_away(caller, Overloaded())
        else:
            self._waiting[id(caller)] = (caller, self._time() + bounds.wait_s)
            self.outstanding += 1
            if not self._serving:
                self._grow()

    def _turn_away(self, caller: Caller, error: GatewayError) -> None:
        if not self._turned_away:
            self._loop.call_soon(self._tell_turned_away)
        self._turned_away[id(caller)] = (caller, error)

    def _tell_turned_away(self) -> None:
        for _ in range(len(self._turned_away)):
            if self._turned_away:  # the last one may have made another give up
                _refuse(*self._turned_away.pop(next(iter(self._turned_away))))
        if self._turned_away:
            self._loop.call_soon(self._tell_turned_away)

    # For connections

    def returned(self, connection: Connection) -> None:
        """Its exchange is over."""
        self.outstanding -= 1
        if not connection.fit or self._retired:
            connection.close()
            return
        connection.reused = True
        connection.idle_since_s = self._time()
        self._idle[connection] = None
        if self._waiting:
            self._serve_soon()

    def left(self, connection: Connection, *, busy: bool) -> None:
        """It is closed."""
        self._connections.discard(connection)
        self._idle.pop(connection, None)
        if busy:
            self.outstanding -= 1
        if self._waiting and not self._serving:
            self._grow()

    def _newest(self) -> Connection | None:
        """The idle connection used last that can still be used."""
        idle = self._idle
        oldest_s = self._time() - self._keepalive_s
        while idle:
            connection = idle.popitem()[0]
            if connection.idle_since_s >= oldest_s and connection.usable:
                return connection
            connection.close()
        return None

    # Waiting callers, in the order in which they came

    def _serve_soon(self) -> None:
        if not self._serving:
            self._serving = True
            self._loop.call_soon(self._serve)

    def _serve(self) -> None:
        for _ in range(len(self._waiting)):
            connection = self._newest() if self._waiting else None
            if connection is None:
                break
            connection.give(self._waiting.pop(next(iter(self._waiting)))[0])
        self._serving = False
        if self._waiting:
            if self._idle:
                self._serve_soon()
            else:
                self._grow()

    def _grow(self) -> None:
        """Begin as many connects as are wanted and allowed."""
        bounds = self._bounds
        wanted = len(self._waiting) - self._connecting
        room = bounds.max_connections - self.open - self._connecting
        for _ in range(min(wanted, room, bounds.max_connecting - self._connecting)):
            self._begin(self._dialled)

    def _begin(self, dialled: Dialled) -> None:
        self._connecting += 1
        self._dial(self, dialled)

    def _dialled(self, result: Connection | GatewayError) -> None:
        self._connecting -= 1
        error = self._joined(result) if isinstance(result, Connection) else result
        if error is not None:
            self.figures.unreachable += 1
            if len(self._waiting) > self._connecting:  # or another connect is for the first
                self._refuse_first(error)
        if self._waiting and not self._serving:
            self._grow()

    def _joined(self, connection: Connection) -> GatewayError | None:
        """A new connection; why it is of no use."""
        if not connection.usable:
            connection.close()
            return UpstreamUnavailable()
        if self._closed or self.open >= self._bounds.max_connections:
            connection.close()  # a probe that found the pool full: it was only asked to connect
            return None
        self.figures.opened += 1
        self._connections.add(connection)
        connection.idle_since_s = self._time()
        self._idle[connection] = None
        if self._waiting:
            self._serve_soon()
        return None

    def _refuse_first(self, error: GatewayError) -> None:
        caller, _ = self._waiting.pop(next(iter(self._waiting)))
        self.outstanding -= 1
        _refuse(caller, error)

    # From time to time

    def probe(self, heard: Callable[[bool], None]) -> None:
        """Connect once more than is wanted, and tell whether it went well."""

        def dialled(result: Connection | GatewayError) -> None:
            well = isinstance(result, Connection) and result.usable
            self._dialled(result)
            heard(well)

        self._begin(dialled)

    def keep_only(self, addresses: Collection[object]) -> None:
        """The upstream is no longer at any other address; open exchanges end where they are."""
        for connection in list(self._connections):
            if connection.address not in addresses:
                connection.retire()
                if connection in self._idle:
                    connection.close()

    def sweep(self, now_s: float) -> None:
        """Close what is idle for too long, refuse who waits for too long."""
        while self._idle:
            oldest = next(iter(self._idle))
            if now_s - oldest.idle_since_s <= self._keepalive_s:
                break
            oldest.close()
        while self._waiting:
            _, deadline_s = next(iter(self._waiting.values()))
            if deadline_s > now_s:
                break
            self._refuse_first(self._too_late())

    def _too_late(self) -> GatewayError:
        if self.open < self._bounds.max_connections:
            return UpstreamTimeout()
        self.figures.overflowed += 1
        return Overloaded()

    def retire(self) -> None:
        """Keep no connection any more; who still comes gets one of his own."""
        self._retired = True
        for connection in list(self._idle):
            connection.close()

    async def aclose(self) -> None:
        """Close what is idle and refuse who waits; what is busy is closed by its caller."""
        self._closed = True
        self.retire()
        while self._waiting:
            self._refuse_first(UpstreamUnavailable())


def _refuse(caller: Caller, error: GatewayError) -> None:
    try:
        caller.not_connected(error)
    except Exception:
        log.exception("an exchange failed as it was refused a connection")
