"""Small readable stand-ins for what tests must own: the time, and random ids."""

from collections.abc import Iterator
from itertools import count

from metering.usage import Account, Charge, Grade, Outcome, Quantity, UsageRecord


class FakeClock:
    """A clock that moves when told to."""

    def __init__(self, now_ms: int = 1_790_000_000_000) -> None:
        self.time_ms = now_ms

    def now_ms(self) -> int:
        return self.time_ms

    def advance(self, *, ms: int = 0, seconds: int = 0) -> None:
        self.time_ms += ms + seconds * 1000


class Ids:
    """Ids that are unique and in order, for reading a failing test."""

    def __init__(self, prefix: str = "id") -> None:
        self._numbers: Iterator[int] = count(1)
        self._prefix = prefix

    def __call__(self) -> str:
        return f"{self._prefix}{next(self._numbers)}"

    def __iter__(self) -> Iterator[str]:
        while True:
            yield self()


def usage_record(
    customer: str = "cust-1",
    *,
    time_ms: int = 1_790_000_000_000,
    charges: tuple[Charge, ...] = (),
    route: str = "chat",
    **quantities: int,
) -> UsageRecord:
    """A complete, exact record."""
    return UsageRecord(
        request_id="00000000-0000-4000-8000-000000000000",
        time_ms=time_ms,
        account=Account(customer, route, charges),
        status=200,
        outcome=Outcome.COMPLETE,
        quantities={meter: Quantity(value, Grade.EXACT) for meter, value in quantities.items()},
    )
