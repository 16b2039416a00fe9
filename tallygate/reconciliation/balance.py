"""Whether all that an instance used stands somewhere: in records, remainder, buckets, or not yet. Pure.

For every instance, in ten-thousandths of the meter's unit, from the beginning of time, because a
remainder goes from hour to hour:

    (recorded + ahead + adjusted) × 10,000 = Σ value × unit × 10,000 + remainder + buckets × 10,000

and for every hour of use, in the meter's unit: recorded + ahead = carried by records + waiting in
the remainder + in buckets. The second says which hour it is; the first finds wrong values too.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from billing_sync.records import SCALE
from billing_sync.store.balancing import ASSIGNED, Holding, Recorded
from tallygate.reconciliation.amounts import Difference, amount_of, carried_by, meter_of
from tallygate.reconciliation.hours_off import hours_off
from tallygate.reconciliation.record_rules import broken_rules
from tallygate.reconciliation.terms import Span

SOLD: Final = "koogallery"  # instances of this source get records


class Stand(NamedTuple):
    """Records in one state: how many, and what they say in ten-thousandths of the meter's unit."""

    records: int = 0
    amount: int = 0

    def plus(self, other: "Stand") -> "Stand":
        """Both together."""
        return Stand(self.records + other.records, self.amount + other.amount)


class Hour(NamedTuple):
    """One hour of use of one meter, in its unit. `late` of `used` is billed in another hour;
    `carried` stands in records, `remainder` waits below four decimals, `not_yet` has no record."""

    window: int
    meter: str
    used: int
    late: int
    carried: int
    remainder: int
    not_yet: int


@dataclass(frozen=True, slots=True)
class Balance:
    """One instance. `used` and the parts of it without a record are in the meter's unit, `in_records`
    and `remainder` in ten-thousandths of it. `hours` and `states` are those of the span."""

    instance_id: str
    customer_id: str
    product_id: str
    meter: str
    used: int
    open: int  # of hours that are not closed
    waiting: int  # of closed hours
    unsold: int  # of instances that get no records
    ahead: int
    adjusted: int
    in_records: int
    remainder: int
    buckets: dict[str, int]
    states: dict[str, Stand]
    hours: Sequence[Hour]
    differences: Sequence[Difference]

    @property
    def recorded(self) -> int:
        """What must stand in records, remainder and buckets, in the meter's unit."""
        return self.used - self.open - self.waiting - self.unsold + self.ahead + self.adjusted

    @property
    def difference(self) -> int:
        """What stands there too much, in ten-thousandths."""
        stands = self.in_records + self.remainder + sum(self.buckets.values()) * SCALE
        return stands - self.recorded * SCALE


def balance(holding: Holding, span: Span) -> Balance:
    """The instance's account, compared."""
    waiting = [(u, u.quantity - u.recorded) for u in holding.used]
    sold = holding.source in (SOLD, "")
    is_open = holding.closed
    buckets: Counter[str] = Counter()
    for each in holding.buckets:
        buckets[each.name] += each.quantity
    found = Balance(
        instance_id=holding.instance_id,
        customer_id=holding.customer_id,
        product_id=holding.product_id,
        meter=meter_of(holding),
        used=sum(u.quantity for u in holding.used),
        open=sum(q for u, q in waiting if sold and u.window >= is_open),
        waiting=sum(q for u, q in waiting if sold and u.window < is_open),
        unsold=0 if sold else sum(q for _, q in waiting),
        ahead=sum(each.quantity for each in holding.ahead),
        adjusted=holding.adjusted,
        in_records=sum(map(amount_of, holding.records)),
        remainder=sum(each.quantity for each in holding.remains),
        buckets=dict(buckets),
        states=_states(holding.records, span),
        hours=[*_hours(holding, span)],
        differences=[*broken_rules(holding), *_recorded_wrongly(holding), *hours_off(holding)],
    )
    return _with_value(found, holding)


def _states(made: Sequence[Recorded], span: Span) -> dict[str, Stand]:
    found: dict[str, Stand] = {}
    for record in made:
        if span.holds(record.window):
            stand = Stand(1, amount_of(record))
            found[record.state] = found.get(record.state, Stand()).plus(stand)
    return found


def _hours(holding: Holding, span: Span) -> Iterator[Hour]:
    used: Counter[tuple[int, str]] = Counter()
    late, carried, remainder, not_yet = (Counter[tuple[int, str]]() for _ in range(4))
    for each in holding.used:
        key = (each.origin, each.meter)
        used[key] += each.quantity
        late[key] += each.quantity if each.mark else 0
        not_yet[key] += each.quantity - each.recorded
    for record in holding.records:
        for origin, quantity in carried_by(record):
            carried[origin, record.meter] += quantity
    meter = meter_of(holding)
    for remains in holding.remains:
        for origin, quantity in remains.origins:
            remainder[origin, meter] += quantity
    for key in sorted({*used, *carried, *remainder}):
        if span.holds(key[0]):
            yield Hour(*key, used[key], late[key], carried[key], remainder[key], not_yet[key])


def _recorded_wrongly(holding: Holding) -> Iterator[Difference]:
    """No more than what was used can be recorded, and all that is assigned was assigned by a person."""
    for used in holding.used:
        if not 0 <= used.recorded <= used.quantity:
            hour = (used.origin, used.origin)
            over = (used.recorded - used.quantity) * SCALE
            yield Difference("recorded", holding.instance_id, used.meter, *hour, over)
    assigned = sum(used.quantity for used in holding.used if used.mark == ASSIGNED)
    if assigned != holding.assigned:
        over = (assigned - holding.assigned) * SCALE
        yield Difference("assigned", holding.instance_id, meter_of(holding), 0, 0, over)


def _with_value(found: Balance, holding: Holding) -> Balance:
    """The account with a difference of its own where the hours tie and the values do not."""
    off = sum(each.amount for each in found.differences if each.kind == "hours")
    if found.difference == off:
        return found
    record = _first_out_of_step(holding.records)
    window = record.window if record else 0
    named = Difference(
        "value",
        found.instance_id,
        found.meter,
        window,
        window,
        found.difference - off,
        record.metering_sn if record else "",
    )
    return replace(found, differences=[*found.differences, named])


def _first_out_of_step(made: Sequence[Recorded]) -> Recorded | None:
    """The first record whose value its quantity and the remainders before it cannot explain."""
    rests: dict[str, int] = {}
    for record in made:
        rest = rests.get(record.package_id, 0) + record.quantity * SCALE - amount_of(record)
        if not -SCALE <= rest < record.unit + SCALE:
            return record
        rests[record.package_id] = rest
    return None
