"""Prints the tenants that stand in the ledger, page by page."""

import json
from typing import Any, Final

import click
from anyio import to_thread

from billing_sync.asking import TenantPage
from billing_sync.store import kit_listing
from billing_sync.store.engine import reading
from tallygate.installation import Installation
from tallygate.reconciliation.opening import Stores, opened
from tallygate.times import time_of

_PAGE: Final = 500


async def run_list(installation: Installation, *, instance: str | None, as_json: bool) -> None:
    """Print them. Raises NothingToReconcile without a ledger, and SQLAlchemyError."""
    async with opened(installation) as stores:
        skip = 0
        while rows := await to_thread.run_sync(_read, stores, instance, skip):
            for row in rows:
                click.echo(json.dumps(row) if as_json else _line(row))
            skip += len(rows)


def _read(stores: Stores, instance: str | None, skip: int) -> list[dict[str, Any]]:
    with reading(stores.engine) as session:
        return kit_listing.listed(session, TenantPage(instance, skip, _PAGE))


def _line(row: dict[str, Any]) -> str:
    apps = ", ".join(app["app_id"] for app in row["apps"]) or "none"
    of = f"instance {row['instance_id']}" if row["instance_id"] else "no instance yet"
    return (
        f"{row['tenant_id']} ({row['code']}, {row['name']}) of {of} since {time_of(row['since'])}: "
        f"applications {apps}; {row['users']} people, {row['organisations']} organisations"
    )
