"""What a reconciliation found, and its verdict. Pure."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import astuple, dataclass, field
from operator import add
from typing import NamedTuple

from metering.lanes import State
from metering.usage import Outcome
from metering.windows import window_of
from tallygate.reconciliation.comparing import Excuse, Row, Verdict
from tallygate.reconciliation.tallying import Ended
from tallygate.reconciliation.terms import Held, Numbers, Span, Stood
from tallygate.reconciliation.trail import LaneSeen, Trail


class Uncertain(NamedTuple):
    """A request of a process that died: nobody knows how it ended. `started` is UTC ms."""

    lane: str
    request_id: str
    customer_id: str
    route: str
    started: int


class Named(NamedTuple):
    """A finding of the ledger about a lane, but for uncertain requests."""

    kind: str
    lane: str
    partition: int
    numbers: Numbers


@dataclass(frozen=True)
class Elsewhere:
    """A lane that Redis or the ledger know and this disk does not: its usage cannot be checked here.

    `until` is the last window it can have counted in, by partition, where that was asked.
    """

    lane: str
    reached: Mapping[int, int]
    lost: bool = False
    until: dict[int, int] = field(default_factory=dict)

    @property
    def records(self) -> int:
        """It had at least so many."""
        return max(self.reached.values())


@dataclass(frozen=True)
class Sum:
    """One meter over all rows, for customers or for the instances that are charged."""

    meter: str
    charged: bool
    journal: int
    held: Held
    on_the_way: int

    @property
    def difference(self) -> int:
        """What Redis and the ledger hold more than the journals."""
        return self.held.quantity - self.journal


@dataclass(frozen=True)
class Report:
    """Everything that is shown. `span` is what was asked for, `covered` what could be compared."""

    at_ms: int
    span: Span
    covered: Span
    partitions: int
    ledger_alone: Collection[int]
    rows: list[Row]
    lanes: list[LaneSeen]
    unreadable: list[str]
    elsewhere: list[Elsewhere]
    uncertain: list[Uncertain]
    named: list[Named]
    ended: Counter[Ended]

    @property
    def exact(self) -> bool:
        """Every difference is 0 or named, and every lane can be read and lacks no record."""
        return not (self.differing or self.unreadable or any(lane.missing for lane in self.lanes))

    @property
    def differing(self) -> list[Row]:
        """The rows that nothing explains."""
        return [row for row in self.rows if row.verdict is Verdict.DIFFERS]

    @property
    def open_now(self) -> int:
        """Requests under way."""
        return sum(len(lane.open) for lane in self.lanes if lane.state is State.LIVE)

    def count(self, outcome: Outcome) -> int:
        """Exchanges that ended so."""
        return sum(n for ended, n in self.ended.items() if ended.outcome is outcome)

    def records(self, *, counted: bool, used: bool | None = None) -> int:
        """Records that Redis and the ledger hold, or those on their way; `used` asks for a part."""
        return sum(
            n
            for ended, n in self.ended.items()
            if ended.counted is counted and used in (None, ended.used)
        )

    def sums(self) -> list[Sum]:
        """Per meter, what customers used and then what instances were charged."""
        found: dict[tuple[bool, str], Sum] = {}
        for row in self.rows:
            key = (bool(row.place.instance_id), row.place.meter)
            total = found.get(key) or Sum(row.place.meter, key[0], 0, Held(), 0)
            found[key] = Sum(
                total.meter,
                total.charged,
                total.journal + row.journal,
                _plus(total.held, row.held),
                total.on_the_way + row.on_the_way,
            )
        return [found[key] for key in sorted(found)]


def _plus(one: Held, other: Held) -> Held:
    return Held(*map(add, astuple(one), astuple(other)))


def lost_records(lanes: Iterable[LaneSeen]) -> dict[int, list[Excuse]]:
    """By partition, the records that lanes of this disk lost and Redis had counted."""
    found: dict[int, list[Excuse]] = {}
    for lane in lanes:
        first, last = window_of(lane.last_ms), window_of(lane.over_ms)
        for partition, numbers in lane.unexplained.items():
            calls = numbers.last - numbers.first + 1
            excuse = Excuse(Verdict.UNEXPLAINED, lane.lane, first, last, calls)
            found.setdefault(partition, []).append(excuse)
    return found


def lanes_elsewhere(stood: Stood, trail: Trail, lost: Collection[str]) -> list[Elsewhere]:
    """Every lane that counted something and is not on this disk."""
    here = {lane.lane for lane in trail.lanes} | {*trail.unreadable}
    return [
        Elsewhere(lane, reached, lane in lost)
        for lane, positions in sorted(stood.positions.items())
        if lane not in here
        and (reached := {partition: n for partition, n in sorted(positions.items()) if n})
    ]


def to_look_into(rows: Iterable[Row], elsewhere: Iterable[Elsewhere]) -> dict[int, int]:
    """By partition, the first window with a surplus that lanes of another disk may explain."""
    touched = {partition for lane in elsewhere for partition in lane.reached}
    found: dict[int, int] = {}
    for row in rows:
        if row.verdict is Verdict.DIFFERS and row.difference > 0 and row.partition in touched:
            window = row.place.window
            found[row.partition] = min(window, found.get(row.partition, window))
    return found


def of_elsewhere(elsewhere: Iterable[Elsewhere]) -> Iterator[tuple[int, Excuse]]:
    """What lanes of another disk explain, with its partition."""
    for lane in elsewhere:
        for partition, until in lane.until.items():
            yield partition, Excuse(Verdict.ELSEWHERE, lane.lane, 0, until)


def covered(span: Span, trail: Trail) -> Span:
    """The windows of which this disk still has everything."""
    return Span(max(span.first, trail.covered_from), span.end)
