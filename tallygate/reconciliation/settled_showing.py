"""How the second half of a reconciliation looks as text. Pure."""

from collections.abc import Iterator, Sequence
from typing import Final

from tallygate.reconciliation.amounts import Difference
from tallygate.reconciliation.balancing import Settlement, Total
from tallygate.reconciliation.record_rules import STATES
from tallygate.reconciliation.sdr import Matched
from tallygate.reconciliation.tables import amount, counted, hour, number, table, time

_MOST_LINES: Final = 50  # of a kind; JSON has them all
_SAID: Final = {
    "hours": "usage, records, remainder and buckets of these hours differ",
    "value": "the values of its records differ from what they cover",
    "recorded": "more is marked as recorded than was used",
    "assigned": "usage is marked as assigned that nobody assigned, or the other way round",
}


def lines(settlement: Settlement) -> Iterator[str]:
    """Sums by meter, records by state, and every difference."""
    yield ""
    yield f"from the ledger to the marketplace: {counted(settlement.instances, 'instance')}"
    totals = sorted(settlement.totals.items())
    if totals:
        titles = (
            "meter",
            "used",
            "not yet",
            "adjusted",
            "records",
            "carry",
            "buckets",
            "difference",
        )
        yield from table(titles, [_total(*each) for each in totals])
        yield from _buckets(totals)
        yield from _states(totals)
    if settlement.differences:
        yield ""
        yield "DIFFERENCES"
        worst = settlement.differences[:_MOST_LINES]
        heads = ("instance", "hour", "meter", "amount", "")
        yield from table(heads, [_difference(each) for each in worst])
        more = len(settlement.differences) + settlement.more - len(worst)
        if more:
            yield f"  ... {more:,} more; --json has {len(settlement.differences):,}"


def _total(meter: str, total: Total) -> tuple[str, ...]:
    not_yet = total.open + total.waiting + total.unsold
    return (
        meter,
        number(total.used + total.ahead),
        number(not_yet),
        number(total.adjusted),
        amount(total.in_records),
        amount(total.remainder),
        number(sum(total.buckets.values())),
        amount(total.difference),
    )


def _buckets(totals: Sequence[tuple[str, Total]]) -> Iterator[str]:
    rows = [
        (meter, name, number(quantity))
        for meter, total in totals
        for name, quantity in sorted(total.buckets.items())
    ]
    if rows:
        yield from table(("meter", "bucket", "quantity"), rows)


def _states(totals: Sequence[tuple[str, Total]]) -> Iterator[str]:
    rows = [
        (meter, state, number(total.states[state].records), amount(total.states[state].amount))
        for meter, total in totals
        for state in [*STATES, *sorted(total.states.keys() - {*STATES})]
        if state in total.states
    ]
    if rows:
        yield from table(("meter", "state", "records", "amount"), rows)


def _difference(one: Difference) -> tuple[str, ...]:
    when = hour(one.first) if one.first else ""
    if one.last != one.first:
        when += f" to {hour(one.last)}"
    said = one.text or _SAID[one.kind]
    record = f"record {one.metering_sn}: " if one.metering_sn else ""
    return (one.instance_id, when, one.meter, amount(one.amount), record + said)


def matched_lines(matched: Matched) -> Iterator[str]:
    """What the marketplace's own list says."""
    yield ""
    said = f"the marketplace's list: {counted(matched.lines, 'line')}, {matched.equal:,} equal"
    when = f", {time(matched.begin)} to {time(matched.end)}" if matched.lines_matched else ""
    yield f"{said}, {matched.confirmed:,} confirmed now{when}"
    shown = matched.findings[:_MOST_LINES]
    if shown:
        yield from table(
            ("line", "finding", "record", ""),
            [(str(f.line or ""), f.kind, f.metering_sn, f.text) for f in shown],
        )
    more = len(matched.findings) + matched.more - len(shown)
    if more:
        yield f"  ... {more:,} more; --json has {len(matched.findings):,}"
