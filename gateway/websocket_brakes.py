"""The limits of a WebSocket session: taken when it opens, kept up while it lasts.

A session holds its slot as long as it lasts and is one request, however many stretches it is
recorded in. What it uses of a package is looked at every CHECK_S and reserved beyond what it reserved
at first; where there is no more for GRACE_S, it has to end.
"""

from collections.abc import Callable, Mapping
from typing import Final

import anyio

from gateway.brakes import Brakes
from gateway.desk import Desk
from gateway.errors import GatewayError
from gateway.holds import Hold
from gateway.limit_errors import QuotaUnavailable
from gateway.waiting import give_back, let_by
from metering.usage import Quantity, UsageRecord

CHECK_S: Final = 0.5
GRACE_S: Final = 1.0


class SessionLimits:
    """Of one session."""

    def __init__(self, desk: Desk | None) -> None:
        self._desk = desk
        self._hold: Hold | None = None
        self._short_since_s: float | None = None

    async def let_in(self, brakes: Brakes | None) -> None:
        """Return when it holds what it needs. Raises GatewayError."""
        if brakes is None or self._desk is None:
            return
        self._hold = hold = Hold(brakes, b"", 0)
        await let_by(self._desk, hold)

    @property
    def watched(self) -> bool:
        """Whether what the session uses must be looked at."""
        return self._hold is not None and any(
            brake.kind in ("package", "tokens") for brake in self._hold.brakes.each
        )

    def refusal(self, used: Mapping[str, Quantity], now_s: float) -> GatewayError | None:
        """Why the session may not go on that has used so much since its last record."""
        hold, desk = self._hold, self._desk
        if hold is None or desk is None or hold.covers(used, now_s, streams=False) is None:
            self._short_since_s = None
            return None
        if self._short_since_s is None:
            self._short_since_s = now_s
        if now_s - self._short_since_s < GRACE_S:
            return None
        return desk.refusal_of(hold)

    def recorded(self, record: UsageRecord | None, number: int, *, last: bool) -> None:
        """The present stretch is record `number`."""
        if self._hold is None or record is None:
            return
        if last:
            self._hold.settle(record.quantities, number)
        else:
            self._hold.settle_part(record.quantities, number)

    def go_on(self, brakes: Brakes | None) -> None:
        """These are the limits of the next stretch. Raises GatewayError."""
        hold, desk = self._hold, self._desk
        if desk is None or (None if hold is None else hold.brakes.each) == (
            None if brakes is None else brakes.each
        ):
            return
        self.release()
        if brakes is None:
            self._hold = None
            return
        self._hold = hold = Hold(brakes, b"", 0)
        refusal = desk.take(hold)
        if refusal is not None or hold.lacks >= 0:
            raise refusal or QuotaUnavailable

    def release(self) -> None:
        """The session is over."""
        give_back(self._desk, self._hold)


async def until_refused(
    limits: SessionLimits, used: Callable[[float], Mapping[str, Quantity]]
) -> GatewayError:
    """Look at it again and again."""
    while True:
        await anyio.sleep(CHECK_S)
        now_s = anyio.current_time()
        refusal = limits.refusal(used(now_s), now_s)
        if refusal is not None:
            return refusal
