"""Prints the packages that stand in the ledger, page by page."""

import json
from collections.abc import Iterator, Sequence
from typing import Any, Final

import click
from anyio import to_thread

from billing_sync.asking import Page
from billing_sync.package_report import shown
from billing_sync.store import package_listing
from billing_sync.store.engine import reading
from metering.catalogue import Catalogue, catalogue
from tallygate.installation import Installation
from tallygate.reconciliation.opening import Stores, opened

_PAGE: Final = 1000
_COLUMNS: Final = ("quota", "used", "left", "lapsed", "overshoot", "waiting")


async def run_list(installation: Installation, *, customer: str | None, as_json: bool) -> None:
    """Print them. Raises NothingToReconcile without a ledger, and SQLAlchemyError."""
    products = catalogue(installation.config.products)
    async with opened(installation) as stores:
        if not as_json:
            click.echo(_line("package", "customer", "status", "of", _COLUMNS))
        after: str | None = None
        while rows := await to_thread.run_sync(_read, stores, products, customer, after):
            for row in rows:
                for line in [json.dumps(row)] if as_json else _lines(row):
                    click.echo(line)
            after = rows[-1]["id"]


def _read(
    stores: Stores, products: Catalogue, customer: str | None, after: str | None
) -> list[dict[str, Any]]:
    with reading(stores.engine) as session:
        page = Page(customer, None, None, after, _PAGE)
        found = package_listing.listed(session, page, products)
    return [shown(figures, stores.clock.now_ms()) for figures in found]


def _lines(row: dict[str, Any]) -> Iterator[str]:
    for item in row["items"]:
        figures = [item[name] if item[name] is not None else "-" for name in _COLUMNS]
        yield _line(row["id"], row["customer_id"], row["status"], item["product_id"], figures)


def _line(package: str, customer: str, status: str, item: str, figures: Sequence[str]) -> str:
    aligned = "  ".join(f"{figure:>10}" for figure in figures)
    return f"{package:<36}  {customer:<16}  {status:<8}  {item:<12}  {aligned}"
