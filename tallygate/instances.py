"""What `tallygate instances` does: on the ledger itself, and tells the gateways at once where it can."""

import json
from pathlib import Path
from typing import Final

import click
from anyio import to_thread

from billing_sync.asking import Page
from billing_sync.errors import BadQuestion, ImportRefused
from billing_sync.parts import set_up, taker_of
from billing_sync.store import listing
from billing_sync.store.engine import reading
from billing_sync.takeover_rows import MAX_FILE
from billing_sync.taking_over import Outcome
from tallygate.columns import in_columns
from tallygate.control_plane import parts_of
from tallygate.installation import Installation
from tallygate.invocation import Misused
from tallygate.reconciliation.opening import Stores, opened
from tallygate.telling import telling
from tallygate.times import time_of

_SHOWN: Final = 20  # problems; the rest is counted
_TITLES: Final = ("instance", "customer", "product", "status", "started", "expires", "order")


async def run_list(installation: Installation, page: Page, *, as_json: bool) -> None:
    """Print them. Raises NothingToReconcile without a ledger, SQLAlchemyError."""
    async with opened(installation) as stores:
        rows = await to_thread.run_sync(_read, stores, page)
    for line in map(json.dumps, rows) if as_json else in_columns(_TITLES, map(_cells, rows)):
        click.echo(line)


async def run_import(
    installation: Installation, file: Path, *, is_json: bool, dry: bool, as_json: bool
) -> None:
    """Take over what the file says, and print what that was.

    Raises Misused for a file with anything wrong in it, OSError, SQLAlchemyError.
    """
    raw = await to_thread.run_sync(_bounded, file)
    async with parts_of(installation) as parts:
        await to_thread.run_sync(set_up, parts)
        async with telling(parts) as on_change:
            try:
                outcome = await taker_of(parts, on_change).run(raw, as_json=is_json, dry=dry)
            except ImportRefused as refusal:
                raise Misused(str(refusal)) from None
    _say(outcome, dry=dry, as_json=as_json)


def _bounded(file: Path) -> bytes:
    with file.open("rb") as opened_file:
        return opened_file.read(MAX_FILE + 1)


def _say(outcome: Outcome, *, dry: bool, as_json: bool) -> None:
    problems = [{"line": each.line, "problem": each.text} for each in outcome.problems]
    if as_json:
        said = {"new": outcome.new, "there": outcome.there, "problems": problems, "dry_run": dry}
        click.echo(json.dumps(said))
    for each in outcome.problems[: 0 if as_json else _SHOWN]:
        click.echo(f"line {each.line}: {each.text}", err=True)
    if outcome.problems:
        count = len(outcome.problems)
        raise Misused(f"{count} problems; nothing was taken over, mend the file and run it again")
    if not as_json:
        done = "would be taken over" if dry else "were taken over"
        click.echo(f"{outcome.new} instances {done}; {outcome.there} were there already")


def _read(stores: Stores, page: Page) -> list[dict[str, object]]:
    with reading(stores.engine) as session:
        try:
            return [row.model_dump() for row in listing.instances(session, page)]
        except BadQuestion as problem:
            raise Misused(str(problem)) from None


def _cells(row: dict[str, object]) -> tuple[str, ...]:
    status = f"{row['status']} (trial)" if row["trial"] else str(row["status"])
    expires = int(str(row["expires"]))
    return (
        str(row["id"]),
        str(row["customer_id"]) or "-",
        str(row["product_id"]) or "-",
        status,
        time_of(int(str(row["started"]))),
        time_of(expires) if expires else "never",
        str(row["order_id"]) or "-",
    )
