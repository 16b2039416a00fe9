"""Adds up the records of the journals by place, in one pass and in little memory. Pure.

It says again, in words of its own, what a record adds up to: a check that took that from the code
it checks would miss that code's mistakes.
"""

from collections import Counter
from typing import NamedTuple

from metering.usage import Charge, Outcome, UsageRecord
from metering.windows import window_of
from tallygate.reconciliation.terms import Place, Written


class Ended(NamedTuple):
    """How exchanges of a window ended; `used` is False where the reply was an error."""

    window: int
    outcome: Outcome
    used: bool
    counted: bool


class _Shape(NamedTuple):
    """What many records have in common: their quantities can be added up meter by meter."""

    window: int
    customer_id: str
    charges: tuple[Charge, ...]
    meters: tuple[str, ...]
    counted: bool


class Tally:
    """The sums so far."""

    def __init__(self) -> None:
        self.ended: Counter[Ended] = Counter()
        self._sums: dict[_Shape, list[int]] = {}

    def add(self, record: UsageRecord, *, counted: bool) -> None:
        """One more record; `counted` says whether Redis and the ledger hold it."""
        window, quantities = window_of(record.time_ms), record.quantities
        self.ended[Ended(window, record.outcome, bool(quantities), counted)] += 1
        shape = _Shape(window, record.customer_id, record.charges, tuple(quantities), counted)
        sums = self._sums.get(shape)
        if sums is None:
            sums = self._sums[shape] = [0] * len(quantities)
        for index, quantity in enumerate(quantities.values()):
            sums[index] += quantity[0]

    def places(self) -> dict[Place, Written]:
        """The sums by place: each meter once for the customer, and once for each charge."""
        found: dict[Place, Written] = {}
        for shape, sums in self._sums.items():
            amounts = dict(zip(shape.meters, sums, strict=True))
            for instance_id, meter in (*(("", meter) for meter in amounts), *shape.charges):
                amount = amounts.get(meter, 0)
                if amount:
                    place = Place(shape.window, shape.customer_id, instance_id, meter)
                    written = found.setdefault(place, Written())
                    if shape.counted:
                        written.counted += amount
                    else:
                        written.on_the_way += amount
        return found
