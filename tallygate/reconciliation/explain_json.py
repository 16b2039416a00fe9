"""An explanation as JSON. Pure."""

from collections.abc import Sequence
from typing import Any

from billing_sync.models import UsageRecord
from metering.lanes import Entry, State
from tallygate.reconciliation.explaining import (
    Booked,
    Charged,
    Hour,
    Placed,
    RecordExplained,
    RequestExplained,
)
from tallygate.reconciliation.tables import exactly, hour, time


def request_json(explained: RequestExplained) -> dict[str, Any]:
    """A request: its records, where they stand, and what it is named."""
    return {
        "request_id": explained.request_id,
        "records": [_placed(each) for each in explained.records],
        "open": [
            {
                "lane": each.lane,
                "customer_id": each.request.customer_id,
                "route": each.request.route,
                "started": time(each.request.started),
                "uncertain": each.state is not State.LIVE,
            }
            for each in explained.open
        ],
        "findings": [
            {
                "kind": each.kind,
                "lane": each.lane,
                "customer_id": each.customer_id,
                "route": each.route,
                "started": time(each.started),
            }
            for each in explained.findings
        ],
    }


def _placed(placed: Placed) -> dict[str, Any]:
    drain = placed.drain
    return {
        **entry_json(placed.hit.entry),
        "host": placed.hit.host,
        "lane_state": placed.hit.state,
        "stands": placed.stands,
        "redis_read": placed.redis_read,
        "drain": drain and {"id": drain.id, "at": time(drain.at)},
        "charged": [_charged(each) for each in placed.charged],
        "assigned_of_the_hour": [each._asdict() for each in placed.assigned],
    }


def entry_json(entry: Entry) -> dict[str, Any]:
    """A record of a journal."""
    record = entry.record
    return {
        "request_id": record.request_id,
        "lane": entry.lane,
        "number": entry.number,
        "partition": entry.partition,
        "at": time(record.time_ms),
        "route": record.route,
        "customer_id": record.customer_id,
        "status": record.status,
        "outcome": record.outcome,
        "repeat": record.repeat,
        "quantities": {
            meter: {"value": quantity.value, "grade": quantity.grade}
            for meter, quantity in record.quantities.items()
        },
        "charges": [charge._asdict() for charge in record.charges],
    }


def _charged(charged: Charged) -> dict[str, Any]:
    account = charged.account
    return {
        "instance_id": charged.instance_id,
        "meter": charged.meter,
        "quantity": charged.quantity.value,
        "grade": charged.quantity.grade,
        "source": charged.source or None,
        "window_start": hour(account.window),
        "booked": _booked(charged.booked),
        "records": [
            {**record_json(record), "of_this_hour": quantity}
            for record, quantity in account.carried
        ],
        "waiting": account.waiting,
        "unrecorded": account.unrecorded,
        "buckets": dict(sorted(account.buckets.items())),
    }


def _booked(places: Sequence[Booked]) -> list[dict[str, Any]]:
    return [{"window_start": hour(place.window), "mark": place.mark or None} for place in places]


def record_json(record: UsageRecord) -> dict[str, Any]:
    """A usage record."""
    return {
        "metering_sn": record.metering_sn,
        "instance_id": record.instance_id,
        "customer_id": record.customer_id,
        "product_id": record.product_id,
        "meter": record.meter,
        "begin": time(record.begin),
        "end": time(record.end),
        "window_start": hour(record.window),
        "quantity": record.quantity,
        "value": record.value,
        "unit": record.unit,
        "relate_pkg_instance": record.relate_pkg_instance or None,
        "state": record.state,
        "error": record.error or None,
    }


def explained_json(explained: RecordExplained) -> dict[str, Any]:
    """A usage record and what is behind it."""
    covered = explained.covered_from
    return {
        **record_json(explained.record),
        "hours": [_hour(each) for each in explained.hours],
        "other_records": [record_json(each) for each in explained.siblings],
        "buckets": dict(explained.buckets),
        "netted": exactly(explained.netted),
        "adjustments": [{**each._asdict(), "at": time(each.at)} for each in explained.adjustments],
        "packages": dict(sorted(explained.packages.items())),
        "redis_read": explained.redis_read,
        "covered_since": hour(covered) if covered else None,
        "calls": sum(each.calls for each in explained.hours),
        "requests": [entry_json(entry) for entry in explained.first],
    }


def _hour(one: Hour) -> dict[str, Any]:
    account = one.account
    return {
        "window_start": hour(account.window),
        "booked": _booked(account.booked),
        "calls": one.calls,
        "journal": one.journal,
        "redis_and_ledger": account.held + one.pending,
        "assigned": account.assigned,
        "this_record": one.here,
        "other_records": one.others,
        "waiting": account.waiting,
        "unrecorded": account.unrecorded + one.pending,
    }
