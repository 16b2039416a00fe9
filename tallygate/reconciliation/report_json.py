"""A reconciliation as JSON: everything. Pure."""

from typing import Any

from metering.usage import Outcome
from tallygate.reconciliation.comparing import Row
from tallygate.reconciliation.reporting import Elsewhere, Report, Sum
from tallygate.reconciliation.tables import hour, time
from tallygate.reconciliation.terms import EVERYTHING
from tallygate.reconciliation.trail import LaneSeen


def as_json(report: Report) -> dict[str, Any]:
    """Everything."""
    return {"exact": report.exact, **counted_json(report)}


def counted_json(report: Report) -> dict[str, Any]:
    """All but the verdict."""
    first, end = report.span
    return {
        "at": time(report.at_ms),
        "from": hour(first) if first else None,
        "to": hour(end) if end != EVERYTHING.end else None,
        "covered_since": hour(report.covered.first) if report.covered.first else None,
        "partitions": report.partitions,
        "ledger_alone": list(report.ledger_alone),
        "exchanges": {
            **{str(outcome): report.count(outcome) for outcome in Outcome},
            "open_now": report.open_now,
            "uncertain": len(report.uncertain),
        },
        "records": {
            "counted": report.records(counted=True),
            "counted_with_usage": report.records(counted=True, used=True),
            "on_the_way": report.records(counted=False),
        },
        "meters": [
            {"meter": one.meter, "charged": one.charged, **_amounts(one)} for one in report.sums()
        ],
        "rows": [_row_json(row) for row in report.rows],
        "lanes": [_lane_json(lane) for lane in report.lanes],
        "unreadable": report.unreadable,
        "elsewhere": [_elsewhere_json(lane) for lane in report.elsewhere],
        "uncertain": [
            {**each._asdict(), "started": time(each.started)} for each in report.uncertain
        ],
        "findings": [
            {
                "kind": each.kind,
                "lane": each.lane,
                "partition": each.partition if each.partition >= 0 else None,
                **each.numbers._asdict(),
            }
            for each in report.named
        ],
    }


def _amounts(one: Sum | Row) -> dict[str, int]:
    return {
        "journal": one.journal,
        "redis_and_ledger": one.held.quantity,
        "difference": one.difference,
        "late": one.held.late,
        "clock": one.held.clock,
        "assigned": one.held.assigned,
        "on_the_way": one.on_the_way,
    }


def _row_json(row: Row) -> dict[str, Any]:
    return {
        "window_start": hour(row.place.window),
        "customer_id": row.place.customer_id,
        "instance_id": row.place.instance_id or None,
        "meter": row.place.meter,
        "partition": row.partition,
        **_amounts(row),
        "verdict": row.verdict,
        "lanes": list(row.lanes),
    }


def _lane_json(lane: LaneSeen) -> dict[str, Any]:
    return {
        "lane": lane.lane,
        "host": lane.host,
        "state": lane.state,
        "records": lane.records,
        "removed_through": lane.removed_through,
        "end": lane.end,
        "position": lane.counted_through,
        "checkpoint": lane.booked_through,
        "on_the_way": lane.on_the_way,
        "open": len(lane.open),
        "missing": [numbers._asdict() for numbers in lane.missing],
        "unexplained": [
            {"partition": partition, **numbers._asdict()}
            for partition, numbers in lane.unexplained.items()
        ],
    }


def _elsewhere_json(lane: Elsewhere) -> dict[str, Any]:
    return {
        "lane": lane.lane,
        "records_at_least": lane.records,
        "lost": lane.lost,
        "reached": {str(partition): number for partition, number in lane.reached.items()},
        "may_have_counted_until": {
            str(partition): hour(window + 1) for partition, window in sorted(lane.until.items())
        },
    }
