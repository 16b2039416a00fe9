"""What `tallygate mappings` does: on the ledger itself, and tells the gateways at once where it can."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import click
from anyio import to_thread

from billing_sync.errors import MappingRefused, UnknownMapping
from billing_sync.mapping import Mapper, shown
from billing_sync.parts import mapper_of, set_up
from tallygate.control_plane import parts_of
from tallygate.installation import Installation
from tallygate.invocation import Misused
from tallygate.telling import telling
from tallygate.times import time_of


async def run_list(installation: Installation, *, as_json: bool) -> None:
    """Print them. Exits 1 where ids lack one. Raises SQLAlchemyError."""
    async with _mapper(installation) as mapper:
        rows, unmapped = await mapper.listed()
    if as_json:
        click.echo(json.dumps(shown(rows, unmapped)))
    else:
        for row in rows:
            at = time_of(row.at)
            click.echo(f"{row.product_id} is metered as {row.mapped_to}, by {row.author} at {at}")
        for each in unmapped:
            click.echo(
                f"{each.product_id} is neither configured nor mapped: {each.instances} instances "
                f"and {each.renewals} renewals wait"
            )
    if unmapped:
        raise SystemExit(1)


async def run_set(
    installation: Installation, product_id: str, mapped_to: str, author: str, *, as_json: bool
) -> None:
    """Map, and print what it did. Raises Misused for what makes no sense, SQLAlchemyError."""
    async with _mapper(installation) as mapper:
        row = await mapper.put(product_id, mapped_to, author)
    count = row["instances"]
    said = f"{product_id} is metered as {mapped_to} from now on, by {count} instances so far"
    click.echo(json.dumps(row) if as_json else said)


async def run_remove(installation: Installation, product_id: str, *, as_json: bool) -> None:
    """Forget one. Raises as `run_set`."""
    async with _mapper(installation) as mapper:
        row = await mapper.remove(product_id)
    said = f"{product_id} was metered as {row['mapped_to']}; instances that are stay so"
    click.echo(json.dumps(row) if as_json else said)


@asynccontextmanager
async def _mapper(installation: Installation) -> AsyncIterator[Mapper]:
    """What the user has to mend is wrong usage, exit code 2; a change is told to the gateways."""
    async with parts_of(installation) as parts:
        await to_thread.run_sync(set_up, parts)
        async with telling(parts) as on_change:
            try:
                yield mapper_of(parts, on_change)
            except (MappingRefused, UnknownMapping) as problem:
                raise Misused(str(problem)) from None
