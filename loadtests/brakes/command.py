"""The command line: packages used up by many at once, and workers killed with their reservations."""

import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Final

import click

from loadtests.brakes import crashes, overshoot
from loadtests.brakes.shop import open_shop

_KILL_EVERY_S: Final = 0.3


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--runs", default=20, show_default=True, help="Packages used up in each way.")
@click.option("--clients", default=200, show_default=True)
@click.option("--workers", default=4, show_default=True)
@click.option("--quota", default=100_000, show_default=True, help="Tokens in a package.")
@click.option(
    "--reservations", default=1000, show_default=True, help="Calls under kill -9; 0: none."
)
def main(runs: int, clients: int, workers: int, quota: int, reservations: int) -> None:
    """Packages that stop, at full concurrency: overshoot within its bound, and nothing lost to kills.

    \b
    Example:
      python -m loadtests.brakes --runs 3 --reservations 0
    """
    problems: list[str] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        customers = 2 * runs + 1
        with open_shop(
            folder, workers=workers, quota=quota, customers=customers, slow_s=0.05
        ) as shop:
            for number in range(2 * runs):
                exact = number >= runs
                asks = overshoot.exactly if exact else overshoot.unknown
                run = asyncio.run(overshoot.run_once(shop, number, quota, clients, asks))
                click.echo(_line("exact" if exact else "unknown", run))
                problems += run.problems(exact=exact)
            if reservations:
                quota_of_all = asyncio.run(
                    crashes.run_once(shop, 2 * runs, quota, reservations, _KILL_EVERY_S)
                )
                click.echo(quota_of_all.line())
                problems += quota_of_all.problems()
    for problem in problems:
        click.echo(f"PROBLEM: {problem}", err=True)
    sys.exit(1 if problems else 0)


def _line(kind: str, run: overshoot.Run) -> str:
    ends = ", ".join(f"{end} {n}" for end, n in sorted(run.ended.items()))
    return (
        f"{kind}: {run.used} of {run.quota}, overshoot {run.overshoot}, bound {run.bound}, "
        f"{run.most_open} at once; {ends}"
    )
