"""What the columns of an export are called and what they hold. Pure.

Times are UTC ms and quantities whole numbers of the meter's unit; `DECIMAL` is exact text with at most
four decimals, never a float.
"""

import json
from collections.abc import Iterator, Sequence
from decimal import Decimal
from enum import Enum
from typing import Any, Final, NamedTuple

from billing_sync.models import UsageRecord, UsageWindow
from metering.lanes import Entry
from metering.windows import Window, start_ms


class Kind(Enum):
    """What a column holds."""

    TEXT = "text"
    WHOLE = "whole"
    DECIMAL = "decimal"
    TIME = "time"


class Column(NamedTuple):
    """One column. Only texts may be missing: then they are empty."""

    name: str
    kind: Kind = Kind.TEXT


Row = Sequence[Any]

RECORDS: Final = (
    Column("metering_sn"),
    Column("instance_id"),
    Column("customer_id"),
    Column("product_id"),
    Column("meter"),
    Column("begin_time", Kind.TIME),
    Column("end_time", Kind.TIME),
    Column("record_time", Kind.TIME),
    Column("quantity", Kind.WHOLE),
    Column("unit", Kind.WHOLE),
    Column("usage_value", Kind.DECIMAL),
    Column("relate_pkg_instance"),
    Column("window_start", Kind.TIME),
    Column("state"),
    Column("error"),
    Column("origins"),
)

USAGE: Final = (
    Column("used_in", Kind.TIME),
    Column("billed_in", Kind.TIME),
    Column("customer_id"),
    Column("instance_id"),
    Column("route"),
    Column("meter"),
    Column("grade"),
    Column("mark"),
    Column("quantity", Kind.WHOLE),
    Column("recorded", Kind.WHOLE),
)

REQUESTS: Final = (
    Column("request_id"),
    Column("time", Kind.TIME),
    Column("customer_id"),
    Column("route"),
    Column("status", Kind.WHOLE),
    Column("outcome"),
    Column("meter"),
    Column("quantity", Kind.WHOLE),
    Column("grade"),
    Column("instances"),
    Column("lane"),
    Column("number", Kind.WHOLE),
)


def record_row(record: UsageRecord) -> Row:
    """One row of RECORDS."""
    return (
        record.metering_sn,
        record.instance_id,
        record.customer_id,
        record.product_id,
        record.meter,
        record.begin,
        record.end,
        record.recorded_at,
        record.quantity,
        record.unit,
        Decimal(record.value),
        record.relate_pkg_instance,
        start_ms(Window(record.window)),
        record.state,
        record.error,
        record.origins,
    )


def usage_row(row: UsageWindow) -> Row:
    """One row of USAGE."""
    return (
        start_ms(Window(row.origin)),
        start_ms(Window(row.window)),
        row.customer_id,
        row.instance_id,
        row.route,
        row.meter,
        row.grade,
        row.mark,
        row.quantity,
        row.recorded,
    )


def request_rows(entry: Entry) -> Iterator[Row]:
    """Rows of REQUESTS: one for each meter, and one without for a request that used nothing."""
    record = entry.record
    head = (record.request_id, record.time_ms, record.customer_id, record.route)
    ended = (record.status, str(record.outcome))
    for meter, (value, grade) in record.quantities.items():
        charged = [charge.instance_id for charge in record.charges if charge.meter == meter]
        instances = json.dumps(charged) if charged else ""
        yield (*head, *ended, meter, value, str(grade), instances, entry.lane, entry.number)
    if not record.quantities:
        yield (*head, *ended, "", 0, "", "", entry.lane, entry.number)
