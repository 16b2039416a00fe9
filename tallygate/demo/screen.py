"""How the demo's report looks on a terminal."""

from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.table import Table

from tallygate.demo.tally import STATIONS

if TYPE_CHECKING:
    from tallygate.demo.run import Report

_HEADINGS: Final = {
    "client": "sent by\nclient",
    "upstream": "seen by\nupstream",
    "journal": "journal",
    "redis_ledger": "Redis +\nledger",
    "usage_info": "UsageInfo",
    "pushed": "pushed",
    "collected": "collected",
}


def print_report(console: Console, report: "Report", *, keep: bool) -> None:
    """The table, the packages, the verdict; with `keep` also the URLs."""
    console.print(_table(report))
    for package in report.packages:
        for entry in package["usageInfo"]:
            console.print(
                f"package {package['product_id']} of {package['customer_id']}: used "
                f"{entry['usageValue']} units, relatedInstanceId {entry['relatedInstanceId']}",
                soft_wrap=True,
                highlight=False,
            )
    named = sum(1 for record in report.records if record.get("relate_pkg_instance"))
    console.print(
        f"{len(report.records)} usage records collected, {named} of them name their package",
        highlight=False,
    )
    for finding in report.findings:
        console.print(f"[red]finding[/] {finding}", soft_wrap=True)
    if report.exact:
        console.print("[green]every difference is 0[/]")
    else:
        console.print("[red]not exact: see the differences and findings above[/]")
    if keep:
        for name, url in report.urls.items():
            console.print(f"{name:15} {url}", soft_wrap=True, highlight=False)
        console.print("Ctrl-C ends it")


def _table(report: "Report") -> Table:
    table = Table(title=f"{report.requests} calls, in each meter's own unit")
    table.add_column("meter", no_wrap=True)
    for station in STATIONS:
        table.add_column(_HEADINGS[station], justify="right", no_wrap=True)
    table.add_column("difference", justify="right", no_wrap=True)
    for row in report.rows:
        counts = [row.counts[station] for station in STATIONS]
        cells = ["-" if count is None else f"{count}" for count in counts]
        colour = "red" if row.difference else "green"
        table.add_row(row.meter, *cells, f"[{colour}]{row.difference}[/]")
    return table
