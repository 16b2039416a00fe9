"""Compares what the journals hold with what Redis and the ledger hold, place by place. Pure.

A surplus of Redis and ledger is named, and no difference, where records that this disk does not hold
can be behind it: records that their lane lost and Redis had counted, or lanes of another disk. Every
record that used anything counts one of `requests`, so where there is no call too many there is no
such record, and what stands there too much differs. A deficit always differs.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from enum import StrEnum
from typing import Final, NamedTuple

from tallygate.reconciliation.terms import Held, Place, Written

CALLS: Final = "requests"


class Verdict(StrEnum):
    """How a place compares."""

    EQUAL = "equal"
    UNEXPLAINED = "unexplained"  # more, and a lane lost records that had been counted
    ELSEWHERE = "elsewhere"  # more, and a lane of another disk counted here too
    DIFFERS = "differs"


class Excuse(NamedTuple):
    """Why a partition may hold more in some windows (both included) than the journals here.

    `calls` is the most that can be behind it, None where nobody knows.
    """

    verdict: Verdict
    lane: str
    first: int
    last: int
    calls: int | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One place, compared. `lanes` are those that explain a surplus."""

    place: Place
    partition: int
    journal: int
    held: Held
    on_the_way: int
    verdict: Verdict = Verdict.EQUAL
    lanes: tuple[str, ...] = ()

    @property
    def difference(self) -> int:
        """What Redis and the ledger hold more than the journals."""
        return self.held.quantity - self.journal


def compare(
    written: Mapping[Place, Written],
    held: Mapping[Place, Held],
    excuses: Mapping[int, Sequence[Excuse]],
    partition_of: Callable[[str], int],
) -> list[Row]:
    """Every place that holds anything, by window, customer, instance and meter.

    `excuses` are by partition.
    """
    rows = [
        _row(place, partition_of(place.customer_id), written.get(place), held.get(place))
        for place in sorted(written.keys() | held.keys())
    ]
    rows = [row for row in rows if row.journal or row.on_the_way or any(astuple(row.held))]
    calls = {_who(row) for row in rows if _is_call(row) and row.difference > 0}
    judged = [_judged(row, excuses.get(row.partition, ()), _who(row) in calls) for row in rows]
    too_many = _too_many(judged, excuses)
    return [
        replace(row, verdict=Verdict.DIFFERS, lanes=())
        if row.verdict is Verdict.UNEXPLAINED and row.partition in too_many
        else row
        for row in judged
    ]


def _row(place: Place, partition: int, written: Written | None, held: Held | None) -> Row:
    written = written or Written()
    return Row(place, partition, written.counted, held or Held(), written.on_the_way)


def _who(row: Row) -> tuple[int, str]:
    return row.place.window, row.place.customer_id


def _is_call(row: Row) -> bool:
    return row.place.meter == CALLS and not row.place.instance_id


def _judged(row: Row, excuses: Sequence[Excuse], calls_too_many: bool) -> Row:
    if not row.difference:
        return row
    fitting = [each for each in excuses if _fits(each, row)] if calls_too_many else []
    if row.difference < 0 or not fitting:
        return replace(row, verdict=Verdict.DIFFERS)
    # A lane elsewhere may be behind any amount, so it is said rather than one that is bounded.
    verdict = max(fitting, key=lambda each: each.verdict is Verdict.ELSEWHERE).verdict
    lanes = tuple(each.lane for each in fitting if each.verdict is verdict)
    return replace(row, verdict=verdict, lanes=lanes)


def _fits(excuse: Excuse, row: Row) -> bool:
    """A lane with a fast clock may have written into any hour to come."""
    return excuse.first <= row.place.window and (
        row.place.window <= excuse.last or bool(row.held.clock)
    )


def _too_many(rows: Iterable[Row], excuses: Mapping[int, Sequence[Excuse]]) -> set[int]:
    """The partitions with more calls than their lost records can be."""
    surplus: dict[int, int] = {}
    for row in rows:
        if row.verdict is Verdict.UNEXPLAINED and _is_call(row):
            surplus[row.partition] = surplus.get(row.partition, 0) + row.difference
    return {
        partition
        for partition, calls in surplus.items()
        if calls > sum(each.calls or 0 for each in excuses.get(partition, ()))
    }
