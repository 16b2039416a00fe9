"""A customer's usage as CSV: one line an hour, instance and meter, in the meter's unit. Pure."""

import csv
import io
from collections.abc import Mapping
from typing import Final

from billing_sync.access import Access
from billing_sync.questions import Cell
from billing_sync.web.formatting import utc
from metering.windows import HOUR_MS

TITLES: Final = ("window_start", "instance_id", "meter", "quantity")
_FORMULAS: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def csv_of(cells: Mapping[Cell, int], access: Access) -> str:
    """What he may see. Lines without an instance count each use of the customer once, whatever it was
    charged to; they are there for whoever sees everything."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(TITLES)
    for cell in sorted(cells):
        if cell.customer_id == access.customer_id and _shown(cell, access):
            start = utc(cell.window * HOUR_MS)
            writer.writerow([start, plain(cell.instance_id), plain(cell.meter), cells[cell]])
    return text.getvalue()


def _shown(cell: Cell, access: Access) -> bool:
    return access.instances is None or (bool(cell.instance_id) and access.sees(cell.instance_id))


def plain(text: str) -> str:
    """Spreadsheets take some beginnings for formulas."""
    return f"'{text}" if text.startswith(_FORMULAS) else text
