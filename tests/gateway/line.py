"""The line-rate shell without sockets or an event loop: a test plays the network, and the time."""

import logging
from collections import deque
from collections.abc import Callable
from typing import Any

import uvicorn
from pydantic import SecretStr
from uvicorn.server import ServerState

from gateway.admission import Directory
from gateway.app import served_by
from gateway.balancing import Balancer
from gateway.connections import Connection
from gateway.crossings import Crossings
from gateway.disconnect import Drains
from gateway.errors import GatewayError
from gateway.gate import Gate
from gateway.known_heads import KnownHeads
from gateway.linerate import LineRate, line_rate
from gateway.pool import Bounds, Dialled, Pool
from gateway.pools import Pools
from gateway.routing import RouteTable
from gateway.settings import Customer, GatewaySettings, HealthSettings, Route
from gateway.standing_errors import InstanceFrozen
from gateway.telemetry import Telemetry
from gateway.write_queue import WriteQueue
from tests.fakes import FakeClock, Ids
from tests.gateway.running import KEY, Kept


class Loop:
    """Calls what was asked for when the test says so. Time stands still."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self._soon: deque[Callable[[], object]] = deque()

    def call_soon(self, callback: Callable[..., object], *arguments: Any) -> None:
        self._soon.append(lambda: callback(*arguments))

    def time(self) -> float:
        return self.now_s

    def turn(self) -> None:
        """Until nothing is left to do."""
        for _ in range(10_000):
            if not self._soon:
                return
            self._soon.popleft()()
        raise AssertionError("the loop never comes to rest")


class Wire:
    """A transport as asyncio's. It notes what is written, and what may not happen to it."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self.protocol: Any = None
        self.written = b""
        self.reading = True
        self.closing = False
        self.ended = False  # no more is written
        self.lost = False
        self.wrong: list[str] = []

    def write(self, data: bytes) -> None:
        if self.lost or self.ended:
            self.wrong.append(f"written after the end: {data!r}")
        if not self.closing:
            self.written += data

    def write_eof(self) -> None:
        self.ended = True

    def can_write_eof(self) -> bool:
        return True

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self._close(None)

    def abort(self) -> None:
        self._close(None)

    def _close(self, error: Exception | None) -> None:
        if not self.closing:
            self.closing = True
            self._loop.call_soon(self._lose, error)

    def _lose(self, error: Exception | None) -> None:
        self.lost = True
        self.protocol.connection_lost(error)

    def breaks(self) -> None:
        """The other side is gone."""
        self._close(ConnectionResetError())
        self._loop.turn()

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def set_write_buffer_limits(self, **_: int) -> None:
        """As big as they are."""

    def get_extra_info(self, name: str) -> Any:
        return _Socket() if name == "socket" else None


class _Socket:
    def getpeername(self) -> tuple[str, int]:
        return ("192.0.2.1", 4711)

    def getsockname(self) -> tuple[str, int]:
        return ("192.0.2.2", 80)

    def setsockopt(self, *_: object) -> None:
        """How the connection ends is not looked at."""


class Recording(Kept):
    """A recorder whose records take their time to be durable, if told so."""

    def __init__(self) -> None:
        super().__init__()
        self.slow = False
        self.then: list[Callable[[], None]] = []
        self.forgotten = 0
        self.failed = 0

    def forget(self, slot: int) -> None:
        super().forget(slot)
        self.forgotten += 1

    def record(self, record: Any, slot: int) -> int:
        if self.full:
            self.failed += 1
        return super().record(record, slot)

    def when_durable(self, then: Callable[[], None]) -> bool:
        if self.slow:
            self.then.append(then)
        return self.slow

    def made_durable(self) -> None:
        """All of them are."""
        waiting, self.then = self.then, []
        for each in waiting:
            each()


class Bench:
    """One worker's line-rate shell."""

    def __init__(self, policy: str = "drain", upstreams: int = 1, **bounds: Any) -> None:
        self.loop, self.kept, self.telemetry = Loop(), Recording(), Telemetry()
        self.dials: list[tuple[Pool, Dialled]] = []
        self.wires: list[Wire] = []  # to the upstreams
        self.clients: list[Wire] = []
        self.log = _Errors()
        self.new_wire = Wire
        names = [f"http://up{number}" for number in range(upstreams)]
        settings = {"name": "chat", "path": "/v1", "upstream": names}
        table = RouteTable([Route.model_validate(settings | {"usage": {"on_disconnect": policy}})])
        customer = Customer(id="cust-1", keys=[SecretStr(KEY)])
        self.directory = Directory(b"pepper", [customer])
        (route,) = table.routes
        self.pools = [
            Pool(each, Bounds(max_connections=4, max_waiting=4), self._dial(index), self.loop)
            for index, each in enumerate(route.upstreams)
        ]
        pools = Pools()
        pools.balancers["chat"] = Balancer(
            self.pools, HealthSettings(), lambda: 0.0, self.loop.time
        )
        gate = Gate(served_by(table, self.directory, GatewaySettings()), FakeClock().now_ms)
        self.shared = Crossings(
            heads=KnownHeads(gate.passage, self.directory, FakeClock().now_ms),
            pools=pools,
            recorder=self.kept,
            clock=FakeClock(),
            telemetry=self.telemetry,
            drains=Drains(self.telemetry, **bounds),
            new_id=Ids("request-"),
            loop_time=self.loop.time,
            now_s=self.loop.now_s,
            writes=WriteQueue(self.loop.call_soon),
        )
        self._protocol = line_rate(self.shared, 4096, 75.0)
        self.server = ServerState()
        self._config = uvicorn.Config(_no_app, interface="asgi3", ws="none", log_config=None)
        self._config.load()

    def _dial(self, index: int) -> Callable[[Any, Dialled], None]:
        return lambda home, dialled: self.dials.append((home, dialled))

    def client(self) -> tuple[LineRate, Wire]:
        """Somebody connects."""
        protocol = self._protocol(self._config, self.server, {}, self.loop)  # type: ignore[arg-type]
        wire = Wire(self.loop)
        wire.protocol = protocol
        self.clients.append(wire)
        protocol.connection_made(wire)  # type: ignore[arg-type]
        return protocol, wire

    def connect(self, result: GatewayError | None = None) -> Wire | None:
        """The oldest connect comes to its end."""
        home, dialled = self.dials.pop(0)
        if result is not None:
            dialled(result)
            self.loop.turn()
            return None
        wire = self.new_wire(self.loop)
        wire.protocol = connection = Connection(home)
        connection.connection_made(wire)  # type: ignore[arg-type]
        self.wires.append(wire)
        dialled(connection)
        self.loop.turn()
        return wire

    def says(self, wire: Wire, data: bytes) -> None:
        """The other side sends, if it is listened to."""
        if not wire.closing and data:
            wire.protocol.data_received(data)
        self.loop.turn()

    def stop_calls(self) -> None:
        """Nobody may go on."""
        for each in list(self.shared.exchanges):
            each.stop(InstanceFrozen())

    def wait(self, seconds: float) -> None:
        """Time passes, and the sweeps see it."""
        self.loop.now_s += seconds
        self.shared.sweep(self.loop.now_s)
        for pool in self.pools:
            pool.sweep(self.loop.now_s)
        self.loop.turn()

    def end(self) -> None:
        """Everybody leaves."""
        self.kept.made_durable()
        for wire in [*self.clients, *self.wires]:
            wire.breaks()
        self.wait(1000.0)
        while self.dials:
            self.connect(GatewayError())
        self.wait(1000.0)

    def check(self) -> None:
        """What holds at any moment."""
        assert self.log.said == []
        assert [wire.wrong for wire in [*self.clients, *self.wires] if wire.wrong] == []
        kept, open_ones = self.kept, len(self.shared.exchanges)
        assert self.telemetry.open_exchanges == open_ones
        done = len(kept.records) + kept.forgotten
        assert done + len(kept.open) == kept.begun
        assert len(kept.open) <= open_ones + kept.failed
        assert self.telemetry.drains_active <= open_ones

    def check_end(self) -> None:
        """What holds when everybody has left."""
        self.check()
        assert self.shared.exchanges == set()
        assert self.shared.clients == set()
        assert self.server.connections == set()
        assert len(self.kept.open) == self.kept.failed
        assert self.telemetry.drains_active == 0
        assert [pool.outstanding for pool in self.pools] == [0] * len(self.pools)


class _Errors(logging.Handler):
    """What the gateway logs as an error; that nothing could be recorded is no surprise here."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.said: list[str] = []
        for name in ("tallygate.gateway", "gateway.linerate"):
            logger = logging.getLogger(name)
            for other in [each for each in logger.handlers if isinstance(each, _Errors)]:
                logger.removeHandler(other)
            logger.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        if "could not be recorded" not in record.msg:
            self.said.append(logging.Formatter().format(record))


async def _no_app(scope: object, receive: object, send: object) -> None:
    raise AssertionError("nothing falls through in these tests")
