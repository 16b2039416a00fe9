"""A customer's usage as rows of hours or days, one column a meter. Pure."""

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, time, timedelta, tzinfo
from typing import Final, Literal, NamedTuple

from billing_sync.access import Access
from billing_sync.questions import Cell
from metering.windows import HOUR_MS

By = Literal["hour", "day"]
HOURS: Final = 48
DAYS: Final = 31


class Row(NamedTuple):
    """An hour, or a day of the site's zone; `start` UTC ms. Quantities in the order of the columns."""

    start: int
    quantities: tuple[int, ...]


class Series(NamedTuple):
    """Newest first, hours and days without use among them. `totals` are of all rows."""

    by: By
    meters: tuple[str, ...]
    rows: tuple[Row, ...]
    totals: tuple[int, ...]


def starts_of(by: By, now_ms: int, zone: tzinfo) -> list[int]:
    """When each row begins, newest first, UTC ms: the last hours or days, that of now among them."""
    if by == "hour":
        now = now_ms // HOUR_MS
        return [(now - back) * HOUR_MS for back in range(HOURS)]
    today = datetime.fromtimestamp(now_ms // 1000, UTC).astimezone(zone).date()
    days = (today - timedelta(days=back) for back in range(DAYS))
    return [_ms(datetime.combine(day, time(), zone)) for day in days]


def windows_of(starts: list[int]) -> tuple[int, int]:
    """The hours [first, end) that such rows are made of; there are none after that of now."""
    return starts[-1] // HOUR_MS, 2**40


def series_of(
    cells: Mapping[Cell, int], access: Access, meters: Iterable[str], by: By, starts: list[int]
) -> Series:
    """What he may see of it: the customer's own totals, each use once, or what his instances were
    charged."""
    columns = tuple(dict.fromkeys(meters))
    row_of = _rows(starts)
    sums: dict[tuple[int, str], int] = {}
    for cell, quantity in cells.items():
        start = row_of(cell.window * HOUR_MS)
        if start is not None and _counts(cell, access):
            sums[start, cell.meter] = sums.get((start, cell.meter), 0) + quantity
    rows = tuple(
        Row(start, tuple(sums.get((start, meter), 0) for meter in columns)) for start in starts
    )
    totals = tuple(sum(row.quantities[at] for row in rows) for at in range(len(columns)))
    return Series(by, columns, rows, totals)


def _rows(starts: list[int]) -> Callable[[int], int | None]:
    """The row that an hour belongs to. Where a zone is half an hour off, the one it begins in."""
    known: dict[int, int | None] = {}

    def row_of(at_ms: int) -> int | None:
        if at_ms not in known:
            known[at_ms] = next((start for start in starts if start <= at_ms), None)
        return known[at_ms]

    return row_of


def _counts(cell: Cell, access: Access) -> bool:
    if cell.customer_id != access.customer_id:
        return False
    if access.instances is None:
        return not cell.instance_id
    return bool(cell.instance_id) and cell.instance_id in access.instances


def _ms(moment: datetime) -> int:
    return int(moment.timestamp()) * 1000
