"""`tallygate demo`: the main job on the embedded default, with the reconciliation table."""

import json
import os
from typing import TYPE_CHECKING, Final

import anyio
import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from tallygate.demo.report import Report
    from tallygate.demo.run import Screen, Wishes

INTERRUPTED: Final = 130  # what shells say of Ctrl-C


@click.command()
@click.option("--requests", default=2000, show_default=True, type=click.IntRange(1, 1_000_000))
@click.option(
    "--seconds", type=click.FloatRange(0.5, 3600), help="Send for so long, in place of --requests."
)
@click.option("--keep", is_flag=True, help="Stay up afterwards and print the URLs.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON and nothing else.")
def demo(requests: int, seconds: float | None, *, keep: bool, as_json: bool) -> None:
    """Sell, call, count, push and reconcile on this machine; exit 0 if every difference is 0.

    \b
    Example:
      tallygate demo --requests 500
    """
    from tallygate.demo.run import Screen, Wishes
    from tallygate.demo.screen import report_lines
    from tallygate.logs import set_up_logging

    set_up_logging("demo")
    # Everything the demo calls is on this machine: a proxy would not find it.
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1"
    stderr = Console(stderr=True)
    shown: list[Report] = []

    def show(report: "Report") -> None:
        shown.append(report)
        progress.stop()  # the bar and the report may share a terminal
        as_text = json.dumps(report.as_json(), indent=2) if as_json else None
        click.echo(as_text or "\n".join(report_lines(report, keep=keep)))

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=stderr) as progress:
        bar = progress.add_task("calls", total=None if seconds else requests)
        screen = Screen(stderr.print, lambda done: progress.update(bar, completed=done), show)
        _run(Wishes(requests, seconds, keep), screen)
    raise SystemExit(int(not shown[0].exact) if shown else INTERRUPTED)


def _run(wishes: "Wishes", screen: "Screen") -> None:
    from httpx import HTTPError

    from tallygate.demo.processes import DidNotStart
    from tallygate.failures import mendable

    try:
        anyio.run(_until_told, wishes, screen)
    except Exception as failure:
        reason = mendable(failure, HTTPError, DidNotStart)
        if reason is None:
            raise
        raise click.ClickException(f"the demo failed: {reason}") from None


async def _until_told(wishes: "Wishes", screen: "Screen") -> None:
    from tallygate.demo.run import run_demo
    from tallygate.stopping import told_to_stop

    async with told_to_stop(hangs_up=True) as stop, anyio.create_task_group() as group:

        async def when_told() -> None:
            await stop.told.wait()
            group.cancel_scope.cancel()

        group.start_soon(when_told)
        await run_demo(wishes, screen, stop.hurried)
        group.cancel_scope.cancel()
