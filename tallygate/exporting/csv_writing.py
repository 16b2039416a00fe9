"""Writes rows as CSV (RFC 4180 with line feeds, UTF-8): times ISO 8601, decimals as they are.

Text that spreadsheets would take for a formula begins with an apostrophe: buyers choose some of it.
"""

import csv
from collections.abc import Iterable, Sequence
from typing import IO

from billing_sync.usage_csv import plain
from tallygate.exporting.columns import Column, Kind, Row
from tallygate.reconciliation.tables import time


def write_csv(columns: Sequence[Column], rows: Iterable[Row], file: IO[str]) -> int:
    """The header and every row; how many rows."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(column.name for column in columns)
    times = [index for index, column in enumerate(columns) if column.kind is Kind.TIME]
    texts = [index for index, column in enumerate(columns) if column.kind is Kind.TEXT]
    count = 0
    for row in rows:
        cells = list(row)
        for index in times:
            cells[index] = time(cells[index])
        for index in texts:
            cells[index] = plain(str(cells[index]))
        writer.writerow(cells)
        count += 1
    return count
