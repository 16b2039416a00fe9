"""`tallygate export`: usage records, usage per hour or single requests as CSV or Parquet."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, TypedDict, Unpack

import click

from tallygate.invocation import config_option, load_installation, run
from tallygate.reconciliation.reconcile_command import Time

if TYPE_CHECKING:
    from billing_sync.store.exporting import Wanted
    from tallygate.exporting.columns import Column, Row
    from tallygate.installation import Installation
    from tallygate.reconciliation.opening import Stores

_STDOUT: Final = Path("-")


class Asked(TypedDict):
    """The options, as they were given."""

    what: str
    as_format: str
    from_ms: int | None
    to_ms: int | None
    customer: str | None
    out: Path


@click.command()
@click.argument("what", type=click.Choice(["records", "usage", "requests"]))
@config_option
@click.option("--format", "as_format", type=click.Choice(["csv", "parquet"]), default="csv")
@click.option("--from", "from_ms", type=Time(), help="What begins at or after this time.")
@click.option("--to", "to_ms", type=Time(), help="What begins before this time.")
@click.option("--customer", help="Of this customer alone.")
@click.option(
    "-o",
    "--output",
    "out",
    type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    default="-",
    help="The file to write; standard output by default.",
)
def export(config_path: Path, **asked: Unpack[Asked]) -> None:
    """Write usage records, usage per hour, or the requests in the journals of this disk.

    Quantities are exact: whole numbers and decimals. Memory stays small however much there is.

    \b
    Example:
      tallygate export records -c tallygate.yaml --from 2026-01-01 --to 2026-02-01 -o january.csv
      tallygate export usage -c tallygate.yaml --format parquet -o usage.parquet
      tallygate export requests -c tallygate.yaml --customer cust-1
    """
    from tallygate.invocation import Misused

    from_ms, to_ms = asked["from_ms"], asked["to_ms"]
    if from_ms is not None and to_ms is not None and from_ms >= to_ms:
        raise Misused("--from is not earlier than --to")
    if asked["as_format"] == "parquet" and asked["out"] == _STDOUT:
        raise Misused("Parquet goes into a file; name it with -o FILE")
    run(partial(_export, load_installation(config_path), asked))


async def _export(installation: "Installation", asked: Asked) -> None:
    from anyio import to_thread

    from tallygate.reconciliation.opening import opened

    async with opened(installation) as stores:
        count = await to_thread.run_sync(_write, stores, asked)
    if asked["out"] != _STDOUT:
        click.echo(f"{count:,} rows in {asked['out']}")


def _write(stores: "Stores", asked: Asked) -> int:
    from billing_sync.store.exporting import Wanted
    from tallygate.exporting.csv_writing import write_csv
    from tallygate.exporting.parquet_writing import ParquetMissing, write_parquet

    default = Wanted()
    wanted = Wanted(
        asked["from_ms"] if asked["from_ms"] is not None else default.from_ms,
        asked["to_ms"] if asked["to_ms"] is not None else default.to_ms,
        asked["customer"],
    )
    with _rows(stores, asked["what"], wanted) as (columns, rows):
        if asked["out"] == _STDOUT:
            return write_csv(columns, rows, sys.stdout)
        try:
            with _written(asked["out"], text=asked["as_format"] == "csv") as file:
                write = write_csv if asked["as_format"] == "csv" else write_parquet
                return write(columns, rows, file)
        except ParquetMissing as problem:
            raise click.ClickException(str(problem)) from None
        except OSError as problem:
            reason = problem.strerror or problem
            raise click.ClickException(f"{asked['out']} cannot be written: {reason}") from None


@contextmanager
def _written(path: Path, *, text: bool) -> Iterator[IO[Any]]:
    """A file that is there whole or not at all."""
    draft = path.with_name(f".{path.name}.part")
    try:
        options: dict[str, Any] = {"encoding": "utf-8", "newline": ""} if text else {}
        with draft.open("w" if text else "wb", **options) as file:
            yield file
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def _rows(
    stores: "Stores", what: str, wanted: "Wanted"
) -> "Iterator[tuple[tuple[Column, ...], Iterator[Row]]]":
    from billing_sync.store import exporting as store
    from billing_sync.store.engine import reading
    from tallygate.exporting import columns
    from tallygate.exporting.requests import requests

    if what == "requests":
        entries = requests(stores.installation.journal_dir, wanted)
        yield columns.REQUESTS, (row for entry in entries for row in columns.request_rows(entry))
        return
    with reading(stores.engine) as session:
        if what == "records":
            yield columns.RECORDS, map(columns.record_row, store.records(session, wanted))
        else:
            yield columns.USAGE, map(columns.usage_row, store.usage(session, wanted))
