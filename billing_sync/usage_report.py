"""Shapes usage for `/api/v1/usage`. Pure.

`data` has a row per window, customer, instance and meter; what is counted for a customer but
charged to no instance stands in a row with `instance_id` null. `total` counts each use once, also
when two instances are charged for it. Rows are summed over the dimensions that `by` leaves out,
which are null; without `instance` among them each use is counted once, as in the total.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from billing_sync.questions import Cell, Usage, UsageFilter
from metering.windows import Window, start_ms

_NAMES: Final = ("customer_id", "instance_id", "meter", "window_start")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def report(usage: Usage, wanted: UsageFilter) -> dict[str, Any]:
    """The answer: rows, totals per meter as decimal text, its time, and whether Redis is in it."""
    rows: Mapping[Cell, int] = usage.cells
    totals: Mapping[Cell, int] = usage.cells
    if wanted.split_by_instance:
        charged = {cell: q for cell, q in usage.cells.items() if cell.instance_id}
        totals = {cell: q for cell, q in usage.cells.items() if not cell.instance_id}
        rows = {**charged, **_uncharged(totals, charged)}
    return {
        "data": _grouped(rows, wanted),
        "total": _by_meter(totals),
        "at": _time(usage.at_ms),
        "live": usage.live,
    }


def _uncharged(counted: Mapping[Cell, int], charged: Mapping[Cell, int]) -> dict[Cell, int]:
    used: dict[Cell, int] = {}
    for cell, quantity in charged.items():
        place = cell._replace(instance_id="")
        # Two instances charged for one use are not more use: the larger one covers it.
        used[place] = max(used.get(place, 0), quantity)
    left = {cell: quantity - used.get(cell, 0) for cell, quantity in counted.items()}
    return {cell: quantity for cell, quantity in left.items() if quantity > 0}


def _grouped(cells: Mapping[Cell, int], wanted: UsageFilter) -> list[dict[str, Any]]:
    groups: dict[tuple[str | None, ...], int] = {}
    for cell, quantity in cells.items():
        group = (
            cell.customer_id if "customer" in wanted.by else None,
            (cell.instance_id or wanted.instance_id) if "instance" in wanted.by else None,
            cell.meter if "meter" in wanted.by else None,
            _start(cell.window, wanted.by),
        )
        groups[group] = groups.get(group, 0) + quantity
    return [
        {**dict(zip(_NAMES, group, strict=True)), "quantity": quantity}
        for group, quantity in sorted(groups.items(), key=_order)
    ]


def _order(item: tuple[tuple[str | None, ...], int]) -> tuple[str, ...]:
    customer, instance, meter, start = (part or "" for part in item[0])
    return start, customer, instance, meter


def _start(window: int, by: frozenset[str]) -> str | None:
    if "window" in by:
        return _time(start_ms(Window(window)))
    return _time(start_ms(Window(window - window % 24))) if "day" in by else None


def _by_meter(cells: Mapping[Cell, int]) -> dict[str, str]:
    total: dict[str, int] = {}
    for cell, quantity in cells.items():
        total[cell.meter] = total.get(cell.meter, 0) + quantity
    return {meter: str(quantity) for meter, quantity in sorted(total.items())}


def _time(time_ms: int) -> str:
    return (_EPOCH + timedelta(milliseconds=time_ms)).isoformat().replace("+00:00", "Z")
