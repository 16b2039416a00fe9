"""What `tallygate adjust` and `tallygate suspense` do: on the ledger itself, without the API."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, TypeVar

import click
from anyio import to_thread
from sqlmodel import Session

from billing_sync.asking import Page, span_of
from billing_sync.correcting import Corrector
from billing_sync.correction_api import (
    AdjustmentBody,
    AssignmentBody,
    adjustment_of,
    assignment_of,
    suspense_row,
)
from billing_sync.correction_models import Adjustment, Assignment
from billing_sync.errors import BadQuestion, CorrectionRefused
from billing_sync.parts import corrector_of, set_up
from billing_sync.store import adjustments, suspense
from billing_sync.store.engine import reading
from billing_sync.store.suspense import Wanted
from metering.windows import HOUR_MS
from tallygate.columns import in_columns
from tallygate.control_plane import parts_of
from tallygate.installation import Installation
from tallygate.invocation import Misused
from tallygate.times import time_of

T = TypeVar("T")
Correction = TypeVar("Correction", Adjustment, Assignment)


class SuspenseAsked(NamedTuple):
    """What `suspense list` was asked; `first` and `end` are ISO 8601 times."""

    customer_id: str | None
    product_id: str | None
    first: str | None
    end: str | None
    by_hour: bool
    skip: int
    limit: int


async def run_adjust(installation: Installation, body: AdjustmentBody, *, as_json: bool) -> None:
    """Adjust, and print the row. Raises Misused for what cannot be done, SQLAlchemyError, OSError."""
    async with _corrector(installation) as corrector:
        taken = await _in_thread(lambda: corrector.adjust(adjustment_of(body)))
    row = taken.row
    said = (
        f"{row.quantity:+} {row.meter} for instance {row.instance_id}, netted into its next records"
    )
    _say(row.model_dump(), said, row.id, repeated=taken.repeated, as_json=as_json)


async def run_assign(installation: Installation, body: AssignmentBody, *, as_json: bool) -> None:
    """Assign, and print the row. Raises as `run_adjust`."""
    async with _corrector(installation) as corrector:
        taken = await _in_thread(lambda: corrector.assign(assignment_of(body)))
    row = taken.row
    said = (
        f"{row.quantity} {row.meter} charged to instance {row.instance_id}, billed with the hour "
        f"{_hour(row.window)}"
    )
    _say(row.model_dump(), said, row.id, repeated=taken.repeated, as_json=as_json)


async def run_list_adjustments(installation: Installation, page: Page, *, as_json: bool) -> None:
    """Print adjustments. Raises Misused for an unknown `after`."""
    await _list(installation, Adjustment, page, as_json=as_json)


async def run_list_assignments(installation: Installation, page: Page, *, as_json: bool) -> None:
    """Print assignments of suspense. Raises as `run_list_adjustments`."""
    await _list(installation, Assignment, page, as_json=as_json)


async def _list(
    installation: Installation, table: type[Correction], page: Page, *, as_json: bool
) -> None:
    async with _corrector(installation) as corrector:
        rows = await _in_thread(
            lambda: _read(corrector, lambda s: adjustments.listed(s, table, page))
        )
    if as_json:
        click.echo(json.dumps([row.model_dump() for row in rows]))
        return
    titles = ("at", "instance", "quantity", "meter", "id", "author", "reason")
    cells = [
        (time_of(r.at), r.instance_id, f"{r.quantity:+}", r.meter, r.id, r.author, r.reason)
        for r in rows
    ]
    for line in in_columns(titles, cells):
        click.echo(line)


async def run_list_suspense(
    installation: Installation, asked: SuspenseAsked, *, as_json: bool
) -> None:
    """Print suspense. Raises Misused for times that are none."""

    def ask(session: Session) -> list[suspense.Listed]:
        wanted = Wanted(asked.customer_id, asked.product_id, *span_of(asked.first, asked.end))
        return suspense.listed(
            session, wanted, by_hour=asked.by_hour, skip=asked.skip, limit=asked.limit
        )

    async with _corrector(installation) as corrector:
        rows = await _in_thread(lambda: _read(corrector, ask))
    if as_json:
        click.echo(json.dumps([suspense_row(row) for row in rows]))
        return
    titles = ("customer", "product", "route", "meter", "from", "to", "quantity", "assigned", "open")
    cells = [
        (*r[:4], _hour(r.first), _hour(r.last + 1), str(r.quantity), str(r.assigned), str(r.open))
        for r in rows
    ]
    for line in in_columns(titles, cells):
        click.echo(line)


@asynccontextmanager
async def _corrector(installation: Installation) -> AsyncIterator[Corrector]:
    async with parts_of(installation) as parts:
        await to_thread.run_sync(set_up, parts)
        yield corrector_of(parts)


async def _in_thread(task: Callable[[], T]) -> T:
    """What the user has to mend is wrong usage, exit code 2."""
    try:
        return await to_thread.run_sync(task)
    except (BadQuestion, CorrectionRefused) as problem:
        raise Misused(str(problem)) from None


def _read(corrector: Corrector, ask: Callable[[Session], list[T]]) -> list[T]:
    with reading(corrector.engine) as session:
        return ask(session)


def _say(
    row: dict[str, Any], said: str, correction_id: str, *, repeated: bool, as_json: bool
) -> None:
    if as_json:
        click.echo(json.dumps({**row, "repeated": repeated}))
    elif repeated:
        click.echo(f"{correction_id} stood there already, nothing was changed: {said}")
    else:
        click.echo(f"{correction_id}: {said}")


def _hour(window: int) -> str:
    return time_of(window * HOUR_MS)
