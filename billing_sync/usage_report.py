"""Shapes usage for `/api/v1/usage`. Pure.

`data` has a row per window, customer, instance and meter; what is counted for a customer but
charged to no instance stands in a row with `instance_id` null. `total` counts each use once, also
when two instances are charged for it.
"""

from datetime import UTC, datetime
from typing import Any, Final

from billing_sync.store.usage import UsageFilter
from billing_sync.usage_view import Usage
from metering.deltas import DeltaKey
from metering.windows import Window, start_ms

DIMENSIONS: Final = ("customer", "instance", "meter", "window", "day")
EVERY_ROW: Final = frozenset({"customer", "instance", "meter", "window"})

Cell = tuple[Window, str, str, str]  # window, customer, instance, meter


def report(usage: Usage, wanted: UsageFilter, by: frozenset[str] = EVERY_ROW) -> dict[str, Any]:
    """The answer: rows, totals per meter as decimal text, its time, and whether Redis is in it.

    Rows are summed over the dimensions that `by` leaves out; those are null.
    """
    charged: dict[Cell, int] = {}
    counted: dict[Cell, int] = {}
    for key, quantity in usage.deltas.items():
        cells = charged if key.instance_id else counted
        cell = _cell(key)
        cells[cell] = cells.get(cell, 0) + quantity
    rows = {**charged, **_uncharged(counted, charged)}
    totals = charged if wanted.instance_id else counted
    return {
        "data": _grouped(rows, by),
        "total": _by_meter(totals),
        "at": _time(usage.at_ms),
        "live": usage.live,
    }


def _cell(key: DeltaKey) -> Cell:
    return key.window, key.customer_id, key.instance_id, key.meter


def _uncharged(counted: dict[Cell, int], charged: dict[Cell, int]) -> dict[Cell, int]:
    used: dict[Cell, int] = {}
    for (window, customer, _, meter), quantity in charged.items():
        place = (window, customer, "", meter)
        # Two instances charged for one use are not more use: the larger one covers it.
        used[place] = max(used.get(place, 0), quantity)
    left = {cell: quantity - used.get(cell, 0) for cell, quantity in counted.items()}
    return {cell: quantity for cell, quantity in left.items() if quantity > 0}


def _grouped(cells: dict[Cell, int], by: frozenset[str]) -> list[dict[str, Any]]:
    groups: dict[tuple[str | None, ...], int] = {}
    for (window, customer, instance, meter), quantity in cells.items():
        group = (
            customer if "customer" in by else None,
            (instance or None) if "instance" in by else None,
            meter if "meter" in by else None,
            _start(window, by),
        )
        groups[group] = groups.get(group, 0) + quantity
    names = ("customer_id", "instance_id", "meter", "window_start")
    return [
        {**dict(zip(names, group, strict=True)), "quantity": quantity}
        for group, quantity in sorted(groups.items(), key=_order)
    ]


def _order(item: tuple[tuple[str | None, ...], int]) -> tuple[str, ...]:
    customer, instance, meter, start = (part or "" for part in item[0])
    return start, customer, instance, meter


def _start(window: Window, by: frozenset[str]) -> str | None:
    if "window" in by:
        return _time(start_ms(window))
    return _time(start_ms(Window(window - window % 24))) if "day" in by else None


def _by_meter(cells: dict[Cell, int]) -> dict[str, str]:
    total: dict[str, int] = {}
    for (*_, meter), quantity in cells.items():
        total[meter] = total.get(meter, 0) + quantity
    return {meter: str(quantity) for meter, quantity in sorted(total.items())}


def _time(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat().replace("+00:00", "Z")
