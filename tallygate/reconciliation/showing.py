"""How a reconciliation looks as text. Pure."""

from collections.abc import Iterator, Sequence
from typing import Final

from metering.lanes import State
from metering.usage import Outcome
from tallygate.reconciliation import settled_showing
from tallygate.reconciliation.balancing import Settlement
from tallygate.reconciliation.comparing import Row, Verdict
from tallygate.reconciliation.reporting import Elsewhere, Report, Sum, Uncertain
from tallygate.reconciliation.sdr import Matched
from tallygate.reconciliation.tables import counted, hour, number, table, time
from tallygate.reconciliation.terms import EVERYTHING, Numbers
from tallygate.reconciliation.trail import LaneSeen

_MOST_LINES: Final = 50  # of a kind; JSON has them all


def lines(
    report: Report, settlement: Settlement | None = None, matched: Matched | None = None
) -> Iterator[str]:
    """The report as text: sums first, then whatever is not plainly equal, then the verdict."""
    yield _about(report)
    yield from _reading(report)
    yield ""
    yield from _exchanges(report)
    yield ""
    yield from _sums(report.sums())
    yield ""
    yield from _rows(report.rows)
    yield from _lanes(report.lanes)
    yield from _elsewhere(report.elsewhere)
    yield from _uncertain(report.uncertain)
    yield from _named(report)
    if settlement is not None:
        yield from settled_showing.lines(settlement)
    if matched is not None:
        yield from settled_showing.matched_lines(matched)
    yield ""
    yield from _verdict(report, settlement, matched)


def _about(report: Report) -> str:
    first, end = report.covered
    begin = f"from {hour(first)}" if first else "from the beginning"
    until = "" if end == EVERYTHING.end else f" to {hour(end)}"
    why = " (earlier ones are no longer in the journals of this disk)"
    return (
        f"hours {begin}{until}{why if first > report.span.first else ''}, at {time(report.at_ms)}"
    )


def _reading(report: Report) -> Iterator[str]:
    if report.ledger_alone:
        yield (
            f"{len(report.ledger_alone)} of {report.partitions} partitions: Redis is away or begins "
            "anew, so the ledger is compared alone"
        )


def _exchanges(report: Report) -> Iterator[str]:
    complete = report.count(Outcome.COMPLETE)
    left, cut = report.count(Outcome.CLIENT_LEFT), report.count(Outcome.UPSTREAM_CUT)
    counted, waiting = report.records(counted=True), report.records(counted=False)
    used = sum(report.records(counted=each, used=True) for each in (True, False))
    yield f"upstream complete  {complete:>12,}"
    yield f"ended otherwise    {left + cut:>12,}   {left:,} clients left, {cut:,} upstreams broke off"
    yield f"open now           {report.open_now:>12,}"
    yield f"uncertain          {len(report.uncertain):>12,}"
    yield f"records            {counted + waiting:>12,}   {used:,} used something, {waiting:,} on the way"


def _sums(sums: Sequence[Sum]) -> Iterator[str]:
    titles = ("meter", "journal", "Redis + ledger", "difference", "late", "on the way")
    for charged, about in ((False, "used by customers"), (True, "charged to instances")):
        chosen = [each for each in sums if each.charged is charged]
        yield f"{about}{'' if chosen else ': nothing'}"
        if chosen:
            yield from table(titles, [_sum(each) for each in chosen])


def _sum(one: Sum) -> tuple[str, ...]:
    late = one.held.late + one.held.clock
    numbers = (one.journal, one.held.quantity, one.difference, late, one.on_the_way)
    return (one.meter, *map(number, numbers))


def _rows(rows: Sequence[Row]) -> Iterator[str]:
    equal = sum(row.difference == 0 for row in rows)
    yield f"{counted(len(rows), 'row')} per hour, customer or instance, and meter; {equal:,} equal"
    elsewhere = sum(row.verdict is Verdict.ELSEWHERE for row in rows)
    if elsewhere:
        yield f"{counted(elsewhere, 'row')} hold more, as lanes that are not here counted there too"
    telling = [row for row in rows if _is_telling(row)]
    if telling:
        worst_first = sorted(telling, key=lambda row: row.verdict is not Verdict.DIFFERS)
        titles = ("hour", "of", "meter", "journal", "Redis + ledger", "difference", "late", "")
        yield from table(titles, [_row(row) for row in worst_first[:_MOST_LINES]])
        yield from _more(len(telling))


def _is_telling(row: Row) -> bool:
    return row.verdict in (Verdict.DIFFERS, Verdict.UNEXPLAINED) or _marked(row)


def _marked(row: Row) -> bool:
    return bool(row.held.late or row.held.clock)


def _row(row: Row) -> tuple[str, ...]:
    place, late = row.place, row.held.late + row.held.clock
    numbers = (row.journal, row.held.quantity, row.difference, late)
    who = place.instance_id or place.customer_id
    said = "" if row.verdict is Verdict.EQUAL else _verdict_of(row)
    return (hour(place.window), who, place.meter, *map(number, numbers), said)


def _verdict_of(row: Row) -> str:
    if row.verdict is Verdict.DIFFERS:
        return "DIFFERS"
    more = f" and {len(row.lanes) - 1} more" if len(row.lanes) > 1 else ""
    return f"{row.verdict}: lane {row.lanes[0]}{more}"


def _lanes(lanes: Sequence[LaneSeen]) -> Iterator[str]:
    yield ""
    yield f"{counted(len(lanes), 'lane')} on this disk"
    telling = [lane for lane in lanes if lane.state is not State.RETIRED or _says_more(lane)]
    titles = ("lane", "state", "records", "end", "position", "checkpoint", "open", "")
    if telling:
        yield from table(titles, [_lane(lane) for lane in telling[-_MOST_LINES:]])
        yield from _more(len(telling))


def _says_more(lane: LaneSeen) -> bool:
    return bool(lane.missing or lane.unexplained or lane.open or lane.on_the_way)


def _lane(lane: LaneSeen) -> tuple[str, ...]:
    numbers = (lane.records, lane.end, lane.counted_through, lane.booked_through, len(lane.open))
    said = [f"MISSING {_span(numbers)}" for numbers in lane.missing[:3]]
    said += [f"unexplained {_span(each)}" for each in list(lane.unexplained.values())[:3]]
    if lane.state is State.RETIRED and lane.on_the_way:
        said.append("waits for `tallygate lanes adopt --again`")
    return (lane.lane, lane.state, *map(number, numbers), ", ".join(said))


def _elsewhere(elsewhere: Sequence[Elsewhere]) -> Iterator[str]:
    if not elsewhere:
        return
    yield ""
    yield (
        f"{counted(len(elsewhere), 'lane')} not here, but on other hosts, or older than the journals "
        "of this disk; their usage cannot be checked here"
    )
    last = sorted(elsewhere, key=lambda lane: max(lane.until.values(), default=0))[-_MOST_LINES:]
    said = [(lane.lane, number(lane.records), _until(lane)) for lane in reversed(last)]
    yield from table(("lane", "records >=", ""), said)
    yield from _more(len(elsewhere))


def _until(lane: Elsewhere) -> str:
    parts = ["lost"] if lane.lost else []
    if lane.until:
        parts.append(f"may have counted until {hour(max(lane.until.values()))}")
    return ", ".join(parts)


def _uncertain(uncertain: Sequence[Uncertain]) -> Iterator[str]:
    if uncertain:
        yield ""
        yield f"{len(uncertain):,} uncertain: their process died, nobody knows how they ended"
        titles = ("request", "customer", "route", "started", "lane")
        said = [
            (each.request_id, each.customer_id, each.route, time(each.started), each.lane)
            for each in uncertain[-_MOST_LINES:]
        ]
        yield from table(titles, said)
        yield from _more(len(uncertain))


def _named(report: Report) -> Iterator[str]:
    if report.named:
        yield ""
        yield f"{counted(len(report.named), 'finding')} about lanes"
        for each in report.named[-_MOST_LINES:]:
            where = f", partition {each.partition}" if each.partition >= 0 else ""
            numbers = f": {_span(each.numbers)}" if each.numbers.last else ""
            yield f"  {each.kind} of lane {each.lane}{where}{numbers}"
        yield from _more(len(report.named))


def _verdict(
    report: Report, settlement: Settlement | None, matched: Matched | None
) -> Iterator[str]:
    for name in report.unreadable:
        yield f"lane {name} cannot be read: its lane.json or sealed.json is damaged, or not ours"
    for lane in report.lanes:
        if lane.missing:
            yield f"lane {lane.lane} lacks records: its files on this disk are damaged or were removed"
    reasons = [*_reasons(report, settlement, matched)]
    if reasons:
        yield f"NOT EXACT: {', '.join(reasons)}"
    elif any(row.difference for row in report.rows):
        yield "every difference is named"
    else:
        yield "every difference is 0"


def _reasons(
    report: Report, settlement: Settlement | None, matched: Matched | None
) -> Iterator[str]:
    """Why it is not exact."""
    if report.differing:
        yield f"a difference in {counted(len(report.differing), 'row')}"
    elif not report.exact:
        yield "records cannot be read"
    if settlement is not None and not settlement.exact:
        yield "usage and records of instances differ"
    if matched is not None and not matched.exact:
        yield "the marketplace's list and ours differ"


def _more(count: int) -> Iterator[str]:
    if count > _MOST_LINES:
        yield f"  ... {count - _MOST_LINES:,} more; --json has all"


def _span(numbers: Numbers) -> str:
    return f"{numbers.first}..{numbers.last}"
