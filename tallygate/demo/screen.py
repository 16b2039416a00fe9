"""How the demo's report looks as text. Pure; 80 columns are enough unless numbers grow very long."""

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any, Final

from tallygate.demo.report import Report
from tallygate.demo.tally import STATIONS, Row

_HEADINGS: Final = {
    "client": "sent by\nclient",
    "upstream": "seen by\nupstream",
    "journal": "journal",
    "redis_ledger": "Redis +\nledger",
    "usage_info": "Usage\nInfo",
    "pushed": "pushed",
    "collected": "collected",
}


def report_lines(report: Report, *, keep: bool) -> Iterator[str]:
    """The table, the packages, the verdict; with `keep` also the URLs."""
    yield f"{report.requests} calls, counted at every station in each meter's own unit"
    yield ""
    yield from table(report.rows)
    yield ""
    for package in report.packages:
        yield from (_package_line(package, entry) for entry in package["usageInfo"])
    named = sum(1 for record in report.records if record.get("relate_pkg_instance"))
    yield f"{len(report.records)} usage records at the marketplace, {named} name their package"
    yield from (f"finding: {finding}" for finding in report.findings)
    yield "every difference is 0" if report.exact else "NOT EXACT: see what differs above"
    if keep:
        yield ""
        yield from (f"{name:15} {url}" for name, url in report.urls.items())
        yield "Ctrl-C ends it"


def table(rows: Sequence[Row]) -> Iterator[str]:
    """One line per meter under headings; columns are as wide as what stands in them."""
    headings = [_HEADINGS[station].split("\n") for station in STATIONS]
    columns = [["meter"], *headings, ["difference"]]
    top = list(zip_longest(*(reversed(column) for column in columns), fillvalue=""))[::-1]
    body = [_cells(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*top, *body, strict=True)]
    for cells in (*top, ["-" * width for width in widths], *body):
        yield _line(cells, widths)


def _cells(row: Row) -> list[str]:
    counts = [row.counts[station] for station in STATIONS]
    return [row.meter, *("-" if n is None else str(n) for n in counts), str(row.difference)]


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *rest = (
        cell.rjust(width) if column else cell.ljust(width)
        for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return " ".join((first, *rest))


def _package_line(package: dict[str, Any], entry: dict[str, Any]) -> str:
    return (
        f"package {package['product_id']} of {package['customer_id']}: "
        f"{entry['usageValue']} units used\n    relatedInstanceId {entry['relatedInstanceId']}"
    )
