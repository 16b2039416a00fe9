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
from decimal import Decimal, InvalidOperation
from typing import Final, NamedTuple

from billing_sync import records
from billing_sync.records import MAX_STEPS, SCALE, SECOND_MS
from billing_sync.store.balancing import ASSIGNED, Holding, Recorded
from tallygate.reconciliation.terms import Span

STATES: Final = (
    "pending",
    "held",
    "sending",
    "sent",
    "collected",
    "confirmed",
    "rejected",
    "expired",
)
_LONGEST_VALUE: Final = 20  # characters; what is longer Decimal would round
_LONGEST_DAY: Final = 25  # hours
SOLD: Final = "koogallery"  # instances of this source get records


class Difference(NamedTuple):
    """What does not tie. Hours [first, last] are 0 where nobody can say; `amount` is what stands too
    much (below zero: too little), in ten-thousandths of the meter's unit."""

    kind: str  # hours, value, recorded, assigned, rule
    instance_id: str
    meter: str
    first: int
    last: int
    amount: int
    metering_sn: str = ""
    text: str = ""


class Stand(NamedTuple):
    """Records in one state: how many, and what they say in ten-thousandths of the meter's unit."""

    count: int = 0
    amount: int = 0

    def plus(self, other: "Stand") -> "Stand":
        """Both together."""
        return Stand(self.count + other.count, self.amount + other.amount)


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
        meter=_meter(holding),
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
        differences=[*_broken_rules(holding), *_recorded_wrongly(holding), *_hours_off(holding)],
    )
    return _with_value(found, holding)


def amount_of(record: Recorded) -> int:
    """What a record says, in ten-thousandths of the meter's unit; 0 for one that says nothing."""
    steps = _steps(record.value)
    return 0 if steps is None else steps * record.unit


def _steps(value: str) -> int | None:
    """Ten-thousandths of a billing unit; None for a text that is not a whole number of them."""
    if len(value) > _LONGEST_VALUE:
        return None
    try:
        steps = Decimal(value).scaleb(4)
        return int(steps) if steps == steps.to_integral_value() else None
    except (InvalidOperation, ValueError, OverflowError):
        return None


def _meter(holding: Holding) -> str:
    """The meter that is billed, or all that were used while nothing is recorded."""
    billed = {each.meter for each in holding.records}
    billed |= {each.meter for each in holding.used if each.recorded}
    return ", ".join(sorted(billed or {each.meter for each in holding.used}))


def _states(made: Sequence[Recorded], span: Span) -> dict[str, Stand]:
    found: dict[str, Stand] = {}
    for record in made:
        if span.holds(record.window):
            stand = Stand(1, amount_of(record))
            found[record.state] = found.get(record.state, Stand()).plus(stand)
    return found


def _carried(record: Recorded) -> Sequence[tuple[int, int]]:
    return record.origins or ((record.window, record.quantity),)


def _hours(holding: Holding, span: Span) -> Iterator[Hour]:
    used: Counter[tuple[int, str]] = Counter()
    late, carried, remainder, not_yet = (Counter[tuple[int, str]]() for _ in range(4))
    for each in holding.used:
        key = (each.origin, each.meter)
        used[key] += each.quantity
        late[key] += each.quantity if each.mark else 0
        not_yet[key] += each.quantity - each.recorded
    for record in holding.records:
        for origin, quantity in _carried(record):
            carried[origin, record.meter] += quantity
    meter = _meter(holding)
    for remains in holding.remains:
        for origin, quantity in remains.origins:
            remainder[origin, meter] += quantity
    for key in sorted({*used, *carried, *remainder}):
        if span.holds(key[0]):
            yield Hour(*key, used[key], late[key], carried[key], remainder[key], not_yet[key])


def _hours_off(holding: Holding) -> Iterator[Difference]:
    """Hours whose usage does not stand where it should; those that were billed together are one."""
    hours = _Hours(holding)
    sums: Counter[int] = Counter()
    for used in holding.used:
        sums[hours.of(used.origin)] -= used.recorded
    for ahead in holding.ahead:
        sums[hours.of(ahead.origin)] -= ahead.quantity
    for carrier in (*map(_carried, holding.records), *(each.origins for each in holding.remains)):
        for origin, quantity in carrier:
            sums[hours.of(origin)] += quantity
    for bucket in holding.buckets:
        sums[hours.of(bucket.window)] += bucket.quantity
    off = [(*hours.span(name), amount) for name, amount in sorted(sums.items()) if amount]
    who = (holding.instance_id, _meter(holding))
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
        yield Difference("assigned", holding.instance_id, _meter(holding), 0, 0, over)


def _broken_rules(holding: Holding) -> Iterator[Difference]:
    """What the marketplace would refuse, or count once for two (spec §7.1, §7.2)."""
    until = 0
    for record in holding.records:
        for text in _faults(record, holding.instance_id, until):
            place = (holding.instance_id, record.meter, record.window, record.window)
            yield Difference("rule", *place, 0, record.metering_sn, text)
        until = max(until, record.end)


def _faults(record: Recorded, instance_id: str, until: int) -> Iterator[str]:
    steps = _steps(record.value)
    if steps is None or not 0 < steps <= MAX_STEPS:
        yield f"value {record.value[:40]!r} is none the marketplace takes"
    if record.begin >= record.end or record.begin % SECOND_MS or record.end % SECOND_MS:
        yield "its interval is empty, or not of whole seconds"
    if record.begin < until:
        yield "its interval begins before the one before it ends"
    if record.metering_sn != records.metering_sn(instance_id, record.begin, record.end):
        yield "its metering_sn is not that of its instance and interval"
    if record.state not in STATES:
        yield f"nobody knows its state {record.state[:40]!r}"


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
