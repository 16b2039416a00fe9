"""`tallygate reconcile`: the tick-and-tie report over journal, Redis and ledger."""

import json
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from tallygate.invocation import config_option, load_installation, run

if TYPE_CHECKING:
    from tallygate.installation import Installation
    from tallygate.reconciliation.reporting import Report
    from tallygate.reconciliation.terms import Span

_SAY_EVERY: Final = 500_000  # records: some seconds


class Time(click.ParamType[int]):
    """An ISO 8601 time as UTC ms; one without a zone is UTC."""

    name = "time"

    def convert(
        self, value: str | int, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        if isinstance(value, int):
            return value
        try:
            time = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is not a time; write one as 2026-01-31T13:00:00Z", param, ctx)
        aware = time if time.tzinfo else time.replace(tzinfo=UTC)
        return max(0, int(aware.timestamp() * 1000))


@click.command()
@config_option
@click.option("--json", "as_json", is_flag=True, help="Everything, for scripts.")
@click.option("--from", "from_ms", type=Time(), help="Compare the hours from this time on.")
@click.option("--to", "to_ms", type=Time(), help="Compare the hours that begin before this time.")
def reconcile(config_path: Path, *, as_json: bool, from_ms: int | None, to_ms: int | None) -> None:
    """Compare journal, Redis and ledger: exit 0 if every difference is 0 or named, else 1.

    Safe beside a running installation: what is counted is compared, what is on its way is shown.

    \b
    Example:
      tallygate reconcile -c tallygate.yaml
      tallygate reconcile -c tallygate.yaml --from 2026-01-31T00:00Z --json
    """
    from tallygate.invocation import Misused

    if from_ms is not None and to_ms is not None and from_ms >= to_ms:
        raise Misused("--from is not earlier than --to")
    found: list[Report] = []
    installation = load_installation(config_path)
    run(partial(_reconcile, installation, _span(from_ms, to_ms), found))
    report = found[0]
    _show(report, as_json=as_json)
    raise SystemExit(int(not report.exact))


def _span(from_ms: int | None, to_ms: int | None) -> "Span":
    from metering.windows import HOUR_MS
    from tallygate.reconciliation.terms import EVERYTHING, Span

    return Span(
        EVERYTHING.first if from_ms is None else from_ms // HOUR_MS,
        EVERYTHING.end if to_ms is None else -(-to_ms // HOUR_MS),
    )


async def _reconcile(installation: "Installation", span: "Span", found: "list[Report]") -> None:
    from tallygate.reconciliation.opening import opened
    from tallygate.reconciliation.reconciling import reconcile as compare

    async with opened(installation) as stores:
        found.append(await compare(stores, span, _told))


def _told(records: int) -> None:
    """Called in a thread; Ctrl-C ends it here."""
    from anyio import from_thread

    from_thread.check_cancelled()
    if not records % _SAY_EVERY:
        click.echo(f"{records:,} records read", err=True)


def _show(report: "Report", *, as_json: bool) -> None:
    from tallygate.reconciliation import report_json, showing

    if as_json:
        click.echo(json.dumps(report_json.as_json(report)))
    else:
        click.echo("\n".join(showing.lines(report)))
