"""Hour by hour: whether what is recorded of an hour's use stands in records, remainders and buckets. Pure."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from billing_sync.records import SCALE
from billing_sync.store.balancing import Holding
from tallygate.reconciliation.amounts import Difference, carried_by, meter_of

_LONGEST_DAY: Final = 25  # hours


def hours_off(holding: Holding) -> Iterator[Difference]:
    """Hours whose usage does not stand where it should; those that were billed together are one."""
    hours = _Hours(holding)
    sums: Counter[int] = Counter()
    for used in holding.used:
        sums[hours.of(used.origin)] -= used.recorded
    for ahead in holding.ahead:
        sums[hours.of(ahead.origin)] -= ahead.quantity
    for carrier in (*map(carried_by, holding.records), *(each.origins for each in holding.remains)):
        for origin, quantity in carrier:
            sums[hours.of(origin)] += quantity
    for bucket in holding.buckets:
        sums[hours.of(bucket.window)] += bucket.quantity
    off = [(*hours.span(name), amount) for name, amount in sorted(sums.items()) if amount]
    who = (holding.instance_id, meter_of(holding))
    for first, last, amount in _without_days(off) if holding.buckets else off:
        yield Difference("hours", *who, first, last, amount * SCALE)


def _without_days(off: Sequence[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """Where records are made by the day, a bucket may name another hour of it than the use had: what
    evens out within a day is no difference."""
    left: list[tuple[int, int, int]] = []
    for each in off:
        left.append(each)
        total = 0
        for back in range(len(left) - 1, -1, -1):
            total += left[back][2]
            if each[0] - left[back][0] >= _LONGEST_DAY:
                break
            if not total:
                del left[back:]
                break
    return left


class _Hours:
    """Hours, joined where one is billed in the other: buckets name the hour of billing."""

    def __init__(self, holding: Holding) -> None:
        self._of: dict[int, int] = {}
        self._members: dict[int, set[int]] = {}
        for used in holding.used:
            if used.origin != used.window:
                self._join(used.window, used.origin)

    def of(self, hour: int) -> int:
        """The name of those it belongs to."""
        return self._of.get(hour, hour)

    def span(self, name: int) -> tuple[int, int]:
        """The first and the last of them."""
        members = self._members.get(name, {name})
        return min(members), max(members)

    def _join(self, one: int, other: int) -> None:
        kept, gone = self.of(one), self.of(other)
        if kept != gone:
            members = self._members.pop(gone, {gone}) | self._members.get(kept, {kept})
            self._members[kept] = members
            self._of.update(dict.fromkeys(members, kept))
