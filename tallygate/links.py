"""What `tallygate links` does: on the ledger itself, beside a running control plane or without one."""

import json

import click
from anyio import to_thread

from billing_sync.errors import BadQuestion, UnknownCustomer
from billing_sync.parts import set_up
from billing_sync.people import linker_of
from tallygate.control_plane import parts_of
from tallygate.installation import Installation
from tallygate.invocation import Misused
from tallygate.times import time_of


async def run_create(
    installation: Installation,
    customer_id: str,
    instance_id: str,
    expires: str | None,
    *,
    as_json: bool,
) -> None:
    """Make a link, and print it. Raises Misused for what cannot be done, SQLAlchemyError."""
    async with parts_of(installation) as parts:
        # Customers of the configuration need not have been served yet.
        await to_thread.run_sync(set_up, parts)
        try:
            made = await linker_of(parts).create(customer_id, instance_id, expires)
        except (BadQuestion, UnknownCustomer) as problem:
            raise Misused(str(problem)) from None
    if as_json:
        click.echo(json.dumps(made._asdict()))
        return
    until = f"until {time_of(made.expires)}" if made.expires else "as long as the instance"
    click.echo(f"the page of customer {customer_id}, {until}, for whoever holds this link:")
    click.echo(made.url)


async def run_revoke(installation: Installation, customer_id: str, *, as_json: bool) -> None:
    """Revoke a customer's links. Raises as `run_create`."""
    async with parts_of(installation) as parts:
        try:
            revision = await linker_of(parts).revoke(customer_id)
        except UnknownCustomer as problem:
            raise Misused(str(problem)) from None
    if as_json:
        click.echo(json.dumps({"customer_id": customer_id, "revision": revision}))
    else:
        click.echo(f"the links of customer {customer_id} open nothing any more")
