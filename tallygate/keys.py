"""What `tallygate keys` does: on the ledger itself, and tells the gateways at once where it can."""

import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar

import click
from anyio import to_thread

from billing_sync.asking import KeyPage
from billing_sync.errors import BadQuestion, KeyRefused, UnknownCustomer, UnknownKey
from billing_sync.key_ring import KeyRing, NewKey, Row
from billing_sync.key_terms import key_asked, rotation_asked
from billing_sync.parts import Parts, key_ring_of, set_up
from tallygate.columns import in_columns
from tallygate.config_errors import one_of
from tallygate.control_plane import parts_of
from tallygate.installation import Installation
from tallygate.invocation import Misused
from tallygate.telling import tell
from tallygate.times import time_of

T = TypeVar("T")

_TITLES: Final = ("id", "customer", "begins", "status", "expires", "last used", "routes", "name")


async def run_create(
    installation: Installation, said: dict[str, Any], routes: Sequence[str], *, as_json: bool
) -> None:
    """Make a key, and print it. Raises Misused for what cannot be done, SQLAlchemyError."""
    served = [route.name for route in installation.config.routes]
    if unknown := [name for name in routes if name not in served]:
        raise Misused(f"there is no route {unknown[0]!r}; {one_of(served)}")

    async def create(ring: KeyRing) -> NewKey:
        return await ring.create(key_asked(**said, routes=routes, now_ms=ring.clock.now_ms()))

    # Customers of the configuration need not have been served yet.
    _say_new(await _done(installation, create, first=set_up), as_json=as_json)


async def run_rotate(
    installation: Installation,
    key_id: str,
    overlap: str,
    expires: str | None,
    *,
    as_json: bool,
) -> None:
    """Make a key in place of another one, and print it. Raises as `run_create`."""

    async def rotate(ring: KeyRing) -> NewKey:
        return await ring.rotate(key_id, rotation_asked(overlap, expires, ring.clock.now_ms()))

    _say_new(await _done(installation, rotate), as_json=as_json)


async def run_revoke(installation: Installation, key_id: str, *, as_json: bool) -> None:
    """Revoke a key. Raises as `run_create`."""
    row = await _done(installation, lambda ring: ring.revoke(key_id))
    if as_json:
        click.echo(json.dumps(row))
    else:
        at = time_of(row["revoked"])
        click.echo(f"key {key_id} of customer {row['customer_id']} was revoked at {at}")


async def run_list(
    installation: Installation,
    *,
    customer: str | None,
    after: int | None,
    limit: int,
    as_json: bool,
) -> None:
    """Print keys; those of the configuration come last."""
    async with parts_of(installation) as parts:
        ring = key_ring_of(parts, _nothing)
        rows = await ring.page(KeyPage(customer, after, limit))
        if after is None and len(rows) < limit:
            rows += (await ring.configured(customer))[: limit - len(rows)]
    for line in map(json.dumps, rows) if as_json else in_columns(_TITLES, map(_cells, rows)):
        click.echo(line)


async def _done(
    installation: Installation,
    change: Callable[[KeyRing], Awaitable[T]],
    *,
    first: Callable[[Parts], None] = lambda _: None,
) -> T:
    """What the user has to mend is wrong usage, exit code 2."""
    async with parts_of(installation) as parts:
        await to_thread.run_sync(first, parts)
        try:
            done = await change(key_ring_of(parts, _nothing))
        except (BadQuestion, KeyRefused, UnknownCustomer, UnknownKey) as problem:
            raise Misused(str(problem)) from None
        await tell(parts)
        return done


def _say_new(made: NewKey, *, as_json: bool) -> None:
    row = made.row
    if as_json:
        click.echo(json.dumps({"key": made.key, **row}))
        return
    end = f"until {time_of(row['expires'])}" if row["expires"] else "without an end"
    click.echo(f"key {row['id']} of customer {row['customer_id']}, {end}; it is shown only now:")
    click.echo(made.key)


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row["id"],
        row["customer_id"],
        row.get("shown") or "-",
        row["status"],
        time_of(row["expires"]) if row["expires"] else "never",
        time_of(row["last_used"]) if row["last_used"] else "never",
        ",".join(row["routes"]) or "all",
        row["name"],
    )


def _nothing() -> None:
    pass
