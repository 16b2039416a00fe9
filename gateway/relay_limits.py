"""The limits of one exchange in the portable shell: held from before it is sent until it is recorded."""

import anyio

from gateway.desk import Desk
from gateway.errors import Fields
from gateway.exchange import Exchange
from gateway.holds import Hold
from gateway.mid_stream import MidStream
from gateway.waiting import give_back, let_by
from metering.usage import UsageRecord


class RelayLimits:
    """Of one exchange. Without a desk, or without limits, it does nothing."""

    def __init__(self, desk: Desk | None, exchange: Exchange) -> None:
        self._desk = desk
        self._exchange = exchange
        self._brakes = exchange.admitted.brakes
        self._hold: Hold | None = None
        self._mid_stream: MidStream | None = None

    @property
    def any(self) -> bool:
        """Whether there are any."""
        return self._brakes is not None and self._desk is not None

    async def let_by(self, body: bytes) -> None:
        """Return when it holds what it needs; `body` is what came of it. Raises GatewayError."""
        exchange, brakes = self._exchange, self._brakes
        if self._desk is None or brakes is None:
            return
        self._hold = hold = Hold(brakes, body, exchange.way.announced)
        if brakes.stops:
            self._mid_stream = MidStream(self._desk, hold, exchange)
        await let_by(self._desk, hold)

    def headers(self) -> Fields:
        """What the client is told of them."""
        return () if self._hold is None else self._hold.brakes.headers()

    def last_words(self, handed: bytes) -> bytes | None:
        """What ends a stream after `handed`; None where it goes on."""
        if self._mid_stream is None:
            return None
        last = self._mid_stream.last_words(handed, anyio.current_time())
        return None if last is None else last[0]

    def recorded(self, record: UsageRecord | None, number: int) -> None:
        """The exchange is record `number`."""
        if self._hold is not None and record is not None:
            self._hold.settle(record.quantities, number)

    def release(self) -> None:
        """The exchange is over."""
        give_back(self._desk, self._hold)
