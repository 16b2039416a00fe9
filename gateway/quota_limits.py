"""How the limits of a caller stand in Redis, for all workers together: what was lent out is spent."""

from collections.abc import Callable, Sequence
from typing import Protocol

from gateway.brakes import Brake
from gateway.limit_settings import Limits
from gateway.limits import Braking, Caller
from gateway.purse import RatePurse, SlotsPurse
from gateway.quota_view import LimitNow
from metering.bank import Spent


class Lenders(Protocol):
    """The bank, as far as it is asked here. Raises MeteringError."""

    async def leased(self, partition: int, names: Sequence[str]) -> list[int]:
        """What gateways hold of each."""

    async def spent(self, partition: int, names: Sequence[str]) -> list[Spent]:
        """What is spent of each rate."""


class LimitsNow:
    """Of one worker. `now_ms` is UTC."""

    def __init__(self, braking: Braking, bank: Lenders, now_ms: Callable[[], int]) -> None:
        self._braking = braking
        self._bank = bank
        self._now_ms = now_ms

    async def __call__(self, limits: Limits, customer_id: str, key_id: str) -> list[LimitNow]:
        """The customer's limits, and those of the key of this id. Raises MeteringError."""
        caller = Caller(customer_id, key_id, (), ())
        brakes = self._braking.of(limits, (), "", caller)
        return [await self._now(each) for each in brakes.each] if brakes is not None else []

    async def _now(self, brake: Brake) -> LimitNow:
        purse, names = brake.purse, [brake.purse.name]
        if isinstance(purse, SlotsPurse):
            (held,) = await self._bank.leased(purse.partition, names)
            left = max(0, purse.most - held)
            return LimitNow(brake.limit, brake.kind, purse.most, 0, left, 0)
        (spent,) = await self._bank.spent(purse.partition, names)
        assert isinstance(purse, RatePurse)  # noqa: S101  (there are no packages here)
        return rate_now(brake, purse, spent, self._now_ms())


def rate_now(brake: Brake, purse: RatePurse, spent: Spent, now_ms: int) -> LimitNow:
    """How a rate stands. Pure."""
    units, period_ms, burst = purse.units, purse.period_ms, purse.burst
    debt = max(0, spent.debt - max(0, now_ms - spent.since) * units)
    left = max(0, (burst * period_ms - debt) // period_ms)
    window_s = max(1, -(-burst * period_ms // (units * 1000)))
    return LimitNow(brake.limit, brake.kind, burst, window_s, left, -(-debt // (units * 1000)))
