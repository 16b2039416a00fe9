"""`tallygate demo`: the main job on the embedded default, with the reconciliation table."""

import json
import signal
import sys

import anyio
import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tallygate.demo.screen import print_report


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
    from tallygate.demo.run import Report, Wishes, run_demo  # noqa: PLC0415  (--help stays quick)
    from tallygate.installation import set_up_logging  # noqa: PLC0415

    set_up_logging()
    screen = Console(stderr=True)
    wishes = Wishes(requests, seconds, keep)

    def show(report: Report) -> None:
        if as_json:
            click.echo(json.dumps(report.as_json(), ensure_ascii=False, indent=2))
        else:
            print_report(Console(), report, keep=keep)
        sys.stdout.flush()

    async def until_interrupted(progress: Progress) -> bool | None:
        bar = progress.add_task("calls", total=None if seconds else requests)
        exact = None
        async with anyio.create_task_group() as group:
            group.start_soon(_cancel_on_signal, group.cancel_scope)
            exact = await run_demo(
                wishes,
                screen.log if screen.is_terminal else screen.print,
                lambda done: progress.update(bar, completed=done),
                show,
            )
            group.cancel_scope.cancel()
        return exact

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=screen) as progress:
        exact = anyio.run(until_interrupted, progress)
    raise SystemExit(130 if exact is None else int(not exact))


async def _cancel_on_signal(scope: anyio.CancelScope) -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            scope.cancel()
            return
