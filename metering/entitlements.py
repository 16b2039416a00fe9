"""Entitlement snapshots in Redis: the control plane puts them, gateways follow them.

A change is published at once; a full check every few seconds heals whatever a lost message hid.
What somebody else wrote there and nobody can read is passed over, never believed.
"""

from collections.abc import AsyncGenerator, Iterable
from typing import Final, NamedTuple

from redis.asyncio import Redis

from metering.connection import text_of, translated
from metering.entitlement import EntitlementSnapshot, from_json, to_json

KEY: Final = "tallygate:entitlements"
CHANNEL: Final = "tallygate:entitlements:changed"


class Everyone(NamedTuple):
    """The snapshots of all customers, and how many values were none."""

    snapshots: list[EntitlementSnapshot]
    unreadable: int


async def put(redis: Redis, snapshots: Iterable[EntitlementSnapshot]) -> None:
    """Store the snapshots and tell the gateways which customers changed."""
    with translated():
        async with redis.pipeline(transaction=False) as pipeline:
            for snapshot in snapshots:
                pipeline.hset(KEY, snapshot.customer_id, to_json(snapshot))
                pipeline.publish(CHANNEL, snapshot.customer_id)
            await pipeline.execute()


async def get(redis: Redis, customer_id: str) -> EntitlementSnapshot | None:
    """The snapshot of one customer; None without one that can be read."""
    with translated():
        raw = await redis.hget(KEY, customer_id)
    return None if raw is None else _snapshot(customer_id, raw)


async def get_all(redis: Redis) -> Everyone:
    """The snapshots of all customers."""
    with translated():
        raw = await redis.hgetall(KEY)
    read = [_snapshot(text_of(customer_id), value) for customer_id, value in raw.items()]
    known = [snapshot for snapshot in read if snapshot is not None]
    return Everyone(known, len(read) - len(known))


async def changes(redis: Redis) -> AsyncGenerator[str]:
    """The customers whose snapshot changes, as it happens. Raises MeteringError at a broken link.

    Nothing that changes after the first turn of the loop is missed until then; what changed before
    is found by `get_all`.
    """
    with translated():
        async with redis.pubsub(ignore_subscribe_messages=True) as channel:
            await channel.subscribe(CHANNEL)
            while True:
                message = await channel.get_message(timeout=1.0)
                if message is not None:
                    yield text_of(message["data"])


def _snapshot(customer_id: str, raw: bytes | str) -> EntitlementSnapshot | None:
    """What `put` wrote under this id; None for anything else."""
    try:
        snapshot = from_json(raw)
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    texts = [snapshot.customer_id, snapshot.name, *snapshot.key_digests]
    texts += [name for i in snapshot.instances for name in (i.instance_id, i.product_id)]
    sound = all(isinstance(text, str) for text in texts)
    return snapshot if sound and snapshot.customer_id == customer_id else None
