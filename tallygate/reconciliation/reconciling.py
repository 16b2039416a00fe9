"""What `tallygate reconcile` does: reads Redis and ledger, then the journals, and compares.

The order makes the comparison exact while traffic runs (standing.py says why):

1. Redis and the ledger    each partition at an instant of its own, with the positions it stands at
2. the journals            everything up to those positions is compared, the rest is on its way
3. what explains a surplus findings, records that lanes lost, lanes of another disk
"""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

from anyio import to_thread
from sqlalchemy import Engine

from billing_sync.booking import AHEAD_MS
from billing_sync.finding_models import FindingRow
from billing_sync.store import ledger, reconciling
from billing_sync.store.engine import reading
from metering.lanes import State
from metering.partitions import partition_of
from metering.windows import Window, start_ms, window_of
from tallygate.reconciliation.comparing import Excuse, Row, compare
from tallygate.reconciliation.opening import Stores
from tallygate.reconciliation.reporting import (
    Elsewhere,
    Named,
    Report,
    Uncertain,
    covered,
    lanes_elsewhere,
    lost_records,
    of_elsewhere,
    to_look_into,
)
from tallygate.reconciliation.standing import Standings
from tallygate.reconciliation.terms import Held, Numbers, Place, Span, Stood, Written
from tallygate.reconciliation.trail import LaneSeen, Trail, read_trail


async def reconcile(stores: Stores, span: Span, told: Callable[[int], None]) -> Report:
    """The whole comparison. `told` hears how many records were read; it is called in a thread."""
    partitions = await to_thread.run_sync(stores.partitions)
    now_ms = stores.clock.now_ms()
    stood = await Standings(stores.engine, stores.counters, span).read(partitions)
    journal = stores.installation.journal_dir
    trail = await to_thread.run_sync(partial(read_trail, journal, stood, span, now_ms, told))
    return await to_thread.run_sync(_judge, stores.engine, stood, trail, span, now_ms)


def _judge(engine: Engine, stood: Stood, trail: Trail, span: Span, now_ms: int) -> Report:
    with reading(engine) as session:
        findings = reconciling.findings(session)
        partitions = len(ledger.places(session))
    whole = covered(span, trail)
    lost = {each.lane for each in findings if each.kind == "lost_lane"}
    elsewhere = lanes_elsewhere(stood, trail, lost)
    return Report(
        at_ms=now_ms,
        span=span,
        covered=whole,
        partitions=partitions,
        ledger_alone=sorted(stood.ledger_alone),
        rows=_rows(engine, _Sides(stood, trail, whole, partitions), elsewhere, now_ms),
        lanes=trail.lanes,
        unreadable=trail.unreadable,
        elsewhere=elsewhere,
        uncertain=_uncertain(findings, trail.lanes, span),
        named=[_named(each) for each in findings if each.kind != "uncertain"],
        ended=Counter(
            {ended: n for ended, n in trail.tally.ended.items() if whole.holds(ended.window)}
        ),
    )


class _Sides:
    """Both sides of the comparison, where nothing was removed."""

    def __init__(self, stood: Stood, trail: Trail, whole: Span, partitions: int) -> None:
        self.stood = stood
        self.excuses = lost_records(trail.lanes)
        self._partition_of = partial(partition_of, partitions=partitions)
        self._written: dict[Place, Written] = {
            place: amount
            for place, amount in trail.tally.places().items()
            if whole.holds(place.window)
        }
        self._held: dict[Place, Held] = {
            place: amount for place, amount in stood.held.items() if whole.holds(place.window)
        }

    def compare(self, more: Sequence[tuple[int, Excuse]] = ()) -> list[Row]:
        excuses = {partition: list(some) for partition, some in self.excuses.items()}
        for partition, excuse in more:
            excuses.setdefault(partition, []).append(excuse)
        return compare(self._written, self._held, excuses, self._partition_of)


def _rows(engine: Engine, sides: _Sides, elsewhere: list[Elsewhere], now_ms: int) -> list[Row]:
    """Who drained when is only looked up where a surplus asks for it: that history is long."""
    rows = sides.compare()
    asked = to_look_into(rows, elsewhere)
    if not asked:
        return rows
    for partition, window in asked.items():
        _date(engine, partition, window, sides.stood, elsewhere, now_ms)
    return sides.compare(list(of_elsewhere(elsewhere)))


def _date(
    engine: Engine,
    partition: int,
    window: int,
    stood: Stood,
    elsewhere: list[Elsewhere],
    now_ms: int,
) -> None:
    """Until when lanes of another disk counted in the partition; from `window` on that matters."""
    lanes = [lane for lane in elsewhere if partition in lane.reached]
    with reading(engine) as session:
        names = [lane.lane for lane in lanes]
        drained = reconciling.drained(session, partition, names, since_ms=start_ms(Window(window)))
    for lane in lanes:
        at = now_ms
        booked = stood.checkpoint(lane.lane).get(partition, 0)
        if drained is not None and lane.reached[partition] == booked:
            at = drained.latest.get(lane.lane, drained.begins)
        lane.until[partition] = window_of(at + AHEAD_MS)


def _uncertain(
    findings: Sequence[FindingRow], lanes: Sequence[LaneSeen], span: Span
) -> list[Uncertain]:
    """Those that the ledger has, and those of lanes that are dead and have not been named yet."""
    named = [
        Uncertain(each.lane, each.request_id, each.customer_id, each.route, each.started)
        for each in findings
        if each.kind == "uncertain"
    ]
    found = [
        Uncertain(lane.lane, each.request_id, each.customer_id, each.route, each.started)
        for lane in lanes
        if lane.state is not State.LIVE
        for each in lane.open
    ]
    return [each for each in dict.fromkeys([*named, *found]) if span.holds(window_of(each.started))]


def _named(row: FindingRow) -> Named:
    return Named(row.kind, row.lane, row.partition, Numbers(row.first, row.last))
