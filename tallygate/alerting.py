"""What `tallygate alerts` does: lists alerts, and has them sent again."""

import json
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Final

import click
from anyio import to_thread

from billing_sync.alert_retrying import retry, retry_given_up
from billing_sync.asking import Page
from billing_sync.errors import UnknownAlert, WrongState
from billing_sync.store import alert_listing as store
from billing_sync.store.engine import reading
from tallygate.installation import Installation
from tallygate.reconciliation.opening import Stores, opened
from tallygate.times import time_of

MOST: Final = 1000  # of one page


async def run_list(installation: Installation, page: Page, *, as_json: bool) -> None:
    """Print them all, page by page. Raises NothingToReconcile without a ledger, and SQLAlchemyError."""
    async with opened(installation) as stores:
        while rows := await to_thread.run_sync(_read, stores, page):
            for row in rows:
                for line in [json.dumps(row)] if as_json else _lines(row):
                    click.echo(line)
            page = page._replace(after=rows[-1]["id"])


async def run_retry(installation: Installation, ids: Sequence[str], *, as_json: bool) -> None:
    """Have these sent again, or all that were given up. Raises ClickException when with one of them
    there was nothing to send."""
    async with opened(installation) as stores:
        again = partial(_again, stores, list(dict.fromkeys(ids)))
        answers = await to_thread.run_sync(again)
    if as_json:
        click.echo(json.dumps(answers))
    else:
        for answer in answers:
            name = answer.get("id", "given up")
            click.echo(f"{name}  {answer.get('problem') or _deliveries(answer['deliveries'])}")
    failed = sum("problem" in answer for answer in answers)
    if failed:
        raise click.ClickException(f"{failed} of {len(answers)} alerts: nothing to send")


def _read(stores: Stores, page: Page) -> list[dict[str, Any]]:
    with reading(stores.engine) as session:
        return store.listed(session, page)


def _lines(row: dict[str, Any]) -> Iterator[str]:
    yield (
        f"{row['id']}  {time_of(row['at'])}  {row['threshold']:>3} %  {row['customer_id']}  "
        f"{row['package_id']}  {row['item']}  used {row['used']} of {row['quota']}"
    )
    for each in row["deliveries"]:
        state = each["state"].replace("_", " ")
        told = f"  {each['webhook']}  {state}  attempts {each['attempts']}  {each['error']}"
        yield told.rstrip()


def _again(stores: Stores, ids: Sequence[str]) -> list[dict[str, Any]]:
    now_ms = stores.clock.now_ms()
    webhooks = stores.installation.config.alerts.terms.webhooks
    if not ids:
        return [{"deliveries": retry_given_up(stores.engine, webhooks, now_ms)}]
    answers: list[dict[str, Any]] = []
    for each in ids:
        try:
            answers.append({"id": each, "deliveries": retry(stores.engine, each, webhooks, now_ms)})
        except (UnknownAlert, WrongState) as problem:
            answers.append({"id": each, "problem": str(problem)})
    return answers


def _deliveries(count: int) -> str:
    return f"{count} to be sent"
