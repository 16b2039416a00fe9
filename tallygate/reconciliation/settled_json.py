"""The second half of a reconciliation as JSON, instance by instance. Pure."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tallygate.reconciliation.amounts import Difference
from tallygate.reconciliation.balance import Balance, Hour, Stand
from tallygate.reconciliation.balancing import Settlement, Total
from tallygate.reconciliation.record_rules import STATES
from tallygate.reconciliation.report_json import counted_json
from tallygate.reconciliation.reporting import Report
from tallygate.reconciliation.sdr import Finding, Matched
from tallygate.reconciliation.tables import exactly, hour, time

_PUSHED = ("sent", "collected", "confirmed")


def settlement_json(settlement: Settlement) -> dict[str, Any]:
    """The sums and what differs. Amounts with decimals are text."""
    return {
        "exact": settlement.exact,
        "instances": settlement.instances,
        "meters": [
            {"meter": meter, "instances": total.instances, **_amounts(total)}
            for meter, total in sorted(settlement.totals.items())
        ],
        "differences": [_difference(each) for each in settlement.differences],
        "more_differences": settlement.more,
    }


def balance_json(one: Balance) -> dict[str, Any]:
    """One instance, with its hours."""
    return {
        "instance_id": one.instance_id,
        "customer_id": one.customer_id,
        "product_id": one.product_id,
        "meter": one.meter,
        **_amounts(one),
        "hours": [_hour(each) for each in one.hours],
    }


def _amounts(one: Balance | Total) -> dict[str, Any]:
    return {
        "used": one.used,
        "open": one.open,
        "waiting": one.waiting,
        "unsold": one.unsold,
        "ahead": one.ahead,
        "adjusted": one.adjusted,
        "in_records": exactly(one.in_records),
        "carry": exactly(one.remainder),
        "buckets": dict(sorted(one.buckets.items())),
        "difference": exactly(one.difference),
        **_states(one.states),
    }


def _states(states: Mapping[str, Stand]) -> dict[str, Any]:
    known = {state: states[state] for state in [*STATES, *sorted(states)] if state in states}
    amount = {state: stand.amount for state, stand in known.items()}
    return {
        "states": {
            state: {"records": stand.records, "amount": exactly(stand.amount)}
            for state, stand in known.items()
        },
        "pushed": exactly(sum(amount.get(state, 0) for state in _PUSHED)),
        "collected": exactly(sum(amount.get(state, 0) for state in _PUSHED[1:])),
        "confirmed": exactly(amount.get("confirmed", 0)),
    }


def _hour(one: Hour) -> dict[str, Any]:
    return {
        "window_start": hour(one.window),
        "meter": one.meter,
        "used": one.used,
        "late": one.late,
        "carried": one.carried,
        "remainder": one.remainder,
        "not_yet": one.not_yet,
    }


def _difference(one: Difference) -> dict[str, Any]:
    return {
        "kind": one.kind,
        "instance_id": one.instance_id,
        "meter": one.meter,
        "first_window": hour(one.first) if one.first else None,
        "last_window": hour(one.last) if one.last else None,
        "amount": exactly(one.amount),
        "metering_sn": one.metering_sn or None,
        "text": one.text or None,
    }


def matched_json(matched: Matched) -> dict[str, Any]:
    """What the marketplace's list said."""
    return {
        "exact": matched.exact,
        "lines": matched.lines,
        "equal": matched.equal,
        "confirmed": matched.confirmed,
        "from": time(matched.begin) if matched.lines_matched else None,
        "to": time(matched.end) if matched.lines_matched else None,
        "findings": [_finding(each) for each in matched.findings],
        "more_findings": matched.more,
    }


def _finding(one: Finding) -> dict[str, Any]:
    return {
        "kind": one.kind,
        "line": one.line or None,
        "metering_sn": one.metering_sn or None,
        "instance_id": one.instance_id or None,
        "text": one.text,
    }


def document(
    report: Report, accounts: Iterable[Balance], settlement: Settlement, matched: Matched | None
) -> Iterator[str]:
    """A whole reconciliation, piece by piece; `settlement` is complete with the last one."""
    yield json.dumps(counted_json(report))[:-1] + ', "instances": ['
    comma = ""
    for one in accounts:
        settlement.add(one)
        yield comma + json.dumps(balance_json(one))
        comma = ", "
    tail: dict[str, Any] = {"settled": settlement_json(settlement)}
    if matched is not None:
        tail["sdr"] = matched_json(matched)
    listed = matched is None or matched.exact
    tail["exact"] = report.exact and settlement.exact and listed
    yield "], " + json.dumps(tail)[1:] + "\n"
