"""Entitlement snapshots in Redis: the control plane puts them, gateways follow them.

A change is published at once, and sets a mark that differs each time: gateways look at the mark every
few seconds, and where it is another one, at everybody. That heals whatever a lost message hid.
Channels of a cluster belong to no node: what one publishes, all of them pass on.
What somebody else wrote there and nobody can read is passed over, never believed.
"""

import secrets
from collections.abc import AsyncGenerator, Iterable
from typing import Any, Final, NamedTuple

from metering.connection import Store, one_of, send_all, text_of, translated
from metering.entitlement import EntitlementSnapshot, from_json, to_json
from metering.errors import MeteringUnavailable

KEY: Final = "tallygate:entitlements"
CHANNEL: Final = "tallygate:entitlements:changed"
MARK: Final = "{tallygate:entitlements}:mark"  # in the same slot of a cluster
_AT_ONCE: Final = 200  # customers
QUIET_S: Final = 1.0  # without a word from the server it is asked for one


class Everyone(NamedTuple):
    """The snapshots of all customers, and how many values were none."""

    snapshots: list[EntitlementSnapshot]
    unreadable: int


async def put(store: Store, snapshots: Iterable[EntitlementSnapshot]) -> None:
    """Store the snapshots and tell the gateways which customers changed.

    The mark comes last: whoever sees it finds all of them, and whoever is killed before it puts them
    again.
    """
    commands: list[tuple[str, ...]] = [
        command
        for one in snapshots
        for command in (
            ("HSET", KEY, one.customer_id, to_json(one)),
            ("PUBLISH", CHANNEL, one.customer_id),
        )
    ]
    if commands:
        commands.append(("HSET", MARK, "mark", secrets.token_hex(8)))
        with translated():
            await send_all(store, KEY, commands)


async def mark(store: Store) -> str:
    """What differs after each change; empty where nothing was put yet.

    Whoever reads everybody reads it before: what changes meanwhile makes it another one.
    """
    with translated():
        raw = await store.hget(MARK, "mark")
    return "" if raw is None else text_of(raw)


async def get(store: Store, customer_id: str) -> EntitlementSnapshot | None:
    """The snapshot of one customer; None without one that can be read."""
    with translated():
        raw = await store.hget(KEY, customer_id)
    return None if raw is None else snapshot_of(customer_id, raw)


async def get_all(store: Store) -> Everyone:
    """The snapshots of all customers."""
    with translated():
        raw = await store.hgetall(KEY)
    read = [snapshot_of(text_of(customer_id), value) for customer_id, value in raw.items()]
    known = [snapshot for snapshot in read if snapshot is not None]
    return Everyone(known, len(read) - len(known))


async def walk(store: Store) -> AsyncGenerator[dict[str, bytes]]:
    """What stands there of all customers, some at a time: nobody waits for thousands of them.

    Whoever is there all the while comes at least once, unless a cluster moves them meanwhile.
    Raises MeteringError.
    """
    cursor = -1
    while cursor:
        with translated():
            found: Any = await store.hscan(KEY, max(cursor, 0), count=_AT_ONCE)
        cursor, raw = found
        yield {text_of(customer_id): value for customer_id, value in raw.items()}


async def changes(store: Store) -> AsyncGenerator[str]:
    """The customers whose snapshot changes, as it happens. Raises MeteringError at a broken link.

    Nothing that changes after the first turn of the loop is missed until then; what changed before
    is found by `get_all`. A server that falls silent is a broken link within two `QUIET_S`.
    """
    with translated():
        async with (await one_of(store)).pubsub() as channel:
            await channel.subscribe(CHANNEL)
            asked = False
            while True:
                message = await channel.get_message(timeout=QUIET_S)
                if message is None:
                    if asked:
                        raise MeteringUnavailable("Redis has fallen silent")
                    await channel.ping()
                asked = message is None
                if message is not None and message["type"] == "message":
                    yield text_of(message["data"])


def readable(raw: bytes | str) -> EntitlementSnapshot | None:
    """The snapshot that `to_json` wrote; None for anything else."""
    try:
        snapshot = from_json(raw)
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    texts = [snapshot.customer_id, snapshot.name]
    texts += [text for k in snapshot.keys for text in (k.key_id, k.digest, *k.routes)]
    texts += [name for i in snapshot.instances for name in (i.instance_id, i.product_id)]
    times = [k.expires for k in snapshot.keys] + [i.expires for i in snapshot.instances]
    sound = all(isinstance(text, str) for text in texts) and all(type(t) is int for t in times)
    return snapshot if sound else None


def snapshot_of(customer_id: str, raw: bytes | str) -> EntitlementSnapshot | None:
    """What `put` wrote under this id; None for anything else."""
    snapshot = readable(raw)
    return snapshot if snapshot is not None and snapshot.customer_id == customer_id else None
