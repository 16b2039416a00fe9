"""`tallygate reconcile`: the tick-and-tie report from the journals to the marketplace."""

from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypedDict, Unpack

import click

from tallygate.invocation import config_option, load_installation, run

if TYPE_CHECKING:
    from tallygate.installation import Installation
    from tallygate.reconciliation.opening import Stores
    from tallygate.reconciliation.sdr import Matched
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


class Asked(TypedDict):
    """The options, as they were given."""

    as_json: bool
    from_ms: int | None
    to_ms: int | None
    sdr: Path | None
    sdr_zone: str
    daily: bool
    date: datetime | None
    out: Path | None
    report: Path | None
    public_key: str | None


_FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@config_option
@click.option("--json", "as_json", is_flag=True, help="Everything, for scripts.")
@click.option("--from", "from_ms", type=Time(), help="Compare the hours from this time on.")
@click.option("--to", "to_ms", type=Time(), help="Compare the hours that begin before this time.")
@click.option("--sdr", type=_FILE, help="KooGallery's own record list (CSV): confirm our records.")
@click.option("--sdr-zone", default="UTC", show_default=True, help="Of its times: UTC or +08:00.")
@click.option("--daily", is_flag=True, help="Write the signed reports of days that lack one.")
@click.option("--date", type=click.DateTime(["%Y-%m-%d"]), help="With --daily: this UTC day, anew.")
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), help="With --daily: where."
)
@click.option("--verify", "report", type=_FILE, help="Check the signature of a daily report.")
@click.option("--public-key", help="With --verify: the key to trust, in place of this host's own.")
def reconcile(config_path: Path, **asked: Unpack[Asked]) -> None:
    """Compare journal, Redis, ledger and records: exit 0 if every difference is 0 or named, else 1.

    Safe beside a running installation: what is counted is compared, what is on its way is shown.

    \b
    Example:
      tallygate reconcile -c tallygate.yaml
      tallygate reconcile -c tallygate.yaml --from 2026-01-31T00:00Z --json
      tallygate reconcile -c tallygate.yaml --sdr records.csv --sdr-zone +08:00
      tallygate reconcile -c tallygate.yaml --daily --date 2026-01-31 --out reports
      tallygate reconcile -c tallygate.yaml --verify reports/reconciliation-2026-01-31.json
    """
    _check(asked)
    if asked["report"] is not None:
        _verify(config_path, asked["report"], asked["public_key"])
        return
    installation = load_installation(config_path)
    exact: list[bool] = []
    if asked["daily"]:
        run(partial(_write_daily, installation, asked["date"], asked["out"], exact))
    else:
        run(partial(_reconcile, installation, asked, exact))
    raise SystemExit(int(not all(exact)))


def _check(asked: Asked) -> None:
    from tallygate.invocation import Misused

    from_ms, to_ms = asked["from_ms"], asked["to_ms"]
    if from_ms is not None and to_ms is not None and from_ms >= to_ms:
        raise Misused("--from is not earlier than --to")
    if not asked["daily"] and (asked["date"] or asked["out"]):
        raise Misused("--date and --out belong to --daily")
    if asked["public_key"] and not asked["report"]:
        raise Misused("--public-key belongs to --verify")
    kinds = [asked["daily"], asked["report"] is not None, asked["sdr"] is not None]
    if sum(kinds) > 1:
        raise Misused("--daily, --verify and --sdr are three things; give one of them")


def _span(from_ms: int | None, to_ms: int | None) -> "Span":
    from metering.windows import HOUR_MS
    from tallygate.reconciliation.terms import EVERYTHING, Span

    return Span(
        EVERYTHING.first if from_ms is None else from_ms // HOUR_MS,
        EVERYTHING.end if to_ms is None else -(-to_ms // HOUR_MS),
    )


async def _reconcile(installation: "Installation", asked: Asked, exact: list[bool]) -> None:
    from anyio import to_thread

    from tallygate.daily_reports import FOLDER
    from tallygate.reconciliation.opening import opened
    from tallygate.reconciliation.outcome import note
    from tallygate.reconciliation.reconciling import reconcile as compare

    span = _span(asked["from_ms"], asked["to_ms"])
    async with opened(installation) as stores:
        matched = await to_thread.run_sync(_match, stores, asked)
        report = await compare(stores, span, _told)
        tell = _tell_json if asked["as_json"] else _tell
        exact.append(await to_thread.run_sync(tell, stores, span, report, matched))
    if span == _span(None, None) and matched is None:
        note(installation.data_dir / FOLDER, report, exact=all(exact))


def _match(stores: "Stores", asked: Asked) -> "Matched | None":
    from tallygate.invocation import Misused
    from tallygate.reconciliation.sdr_columns import Unreadable, zone_of
    from tallygate.reconciliation.sdr_matching import match
    from tallygate.reconciliation.sdr_reading import BadList, read_list

    if asked["sdr"] is None:
        return None
    stores.partitions()  # the ledger is this configuration's
    try:
        lines = read_list(asked["sdr"], zone_of(asked["sdr_zone"]))
        return match(stores.engine, lines, stores.clock.now_ms())
    except (BadList, Unreadable) as problem:
        raise Misused(str(problem)) from None


def _tell(stores: "Stores", span: "Span", report: Any, matched: "Matched | None") -> bool:
    from tallygate.reconciliation import showing
    from tallygate.reconciliation.balancing import settle

    settlement = settle(stores.engine, span)
    click.echo("\n".join(showing.lines(report, settlement, matched)))
    return bool(report.exact and settlement.exact and (matched is None or matched.exact))


def _tell_json(stores: "Stores", span: "Span", report: Any, matched: "Matched | None") -> bool:
    """Instance by instance: they need not all fit into memory."""
    from tallygate.reconciliation.balancing import Settlement, balances
    from tallygate.reconciliation.settled_json import document

    settlement = Settlement()
    for piece in document(report, balances(stores.engine, span), settlement, matched):
        click.echo(piece, nl=False)
    return bool(report.exact and settlement.exact and (matched is None or matched.exact))


def _told(records: int) -> None:
    """Called in a thread; Ctrl-C ends it here."""
    from anyio import from_thread

    from_thread.check_cancelled()
    if not records % _SAY_EVERY:
        click.echo(f"{records:,} records read", err=True)


async def _write_daily(
    installation: "Installation", date: datetime | None, out: Path | None, exact: list[bool]
) -> None:
    from anyio import to_thread

    from tallygate.daily_reports import FOLDER
    from tallygate.reconciliation.daily import days_asked, write_day
    from tallygate.reconciliation.opening import opened
    from tallygate.reconciliation.report_signing import private_key

    folder = out or installation.data_dir / FOLDER
    async with opened(installation) as stores:
        days = await to_thread.run_sync(days_asked, stores, folder, date)
        key = private_key(installation.data_dir)
        for day in days:
            written = await write_day(stores, day, folder, key, _told)
            click.echo(f"{written.path}  {'exact' if written.exact else 'NOT EXACT'}")
            exact.append(written.exact)
    if not days:
        click.echo(f"no day lacks its report in {folder}")


def _verify(config_path: Path, path: Path, public_key: str | None) -> None:
    from tallygate.reconciliation.report_signing import (
        NotVerified,
        private_key,
        public_text,
        verify,
    )

    trusted = public_key
    if trusted is None:
        trusted = public_text(private_key(load_installation(config_path).data_dir))
    try:
        digest = verify(path, trusted)
    except FileNotFoundError as problem:
        raise click.ClickException(f"{problem.filename}: there is no such file") from None
    except NotVerified as problem:
        raise click.ClickException(f"{path}: {problem}") from None
    click.echo(f"{path}: signed with {trusted.strip()}, SHA-256 {digest}")
