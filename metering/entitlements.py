"""Entitlement snapshots in Redis: the control plane puts them, gateways follow them.

A change is published at once; a full check every few seconds heals whatever a lost message hid.
"""

from collections.abc import AsyncIterator, Iterable
from typing import Final

from redis.asyncio import Redis

from metering.connection import translated
from metering.entitlement import EntitlementSnapshot, from_json, to_json

KEY: Final = "tallygate:entitlements"
CHANNEL: Final = "tallygate:entitlements:changed"


async def put(redis: Redis, snapshots: Iterable[EntitlementSnapshot]) -> None:
    """Store the snapshots and tell the gateways which customers changed."""
    for snapshot in snapshots:
        with translated():
            await redis.hset(KEY, snapshot.customer_id, to_json(snapshot))
            await redis.publish(CHANNEL, snapshot.customer_id)


async def get(redis: Redis, customer_id: str) -> EntitlementSnapshot | None:
    """The snapshot of one customer."""
    with translated():
        raw = await redis.hget(KEY, customer_id)
    return None if raw is None else from_json(raw)


async def get_all(redis: Redis) -> list[EntitlementSnapshot]:
    """The snapshots of all customers."""
    with translated():
        raw = await redis.hgetall(KEY)
    return [from_json(text) for text in raw.values()]


async def changes(redis: Redis) -> AsyncIterator[str]:
    """The customers whose snapshot changes, as it happens. Raises RedisError when the link breaks.

    Nothing that changes after the first turn of the loop is missed until then; what changed before
    is found by `get_all`.
    """
    async with redis.pubsub(ignore_subscribe_messages=True) as channel:
        await channel.subscribe(CHANNEL)
        while True:
            message = await channel.get_message(timeout=1.0)
            if message is not None:
                yield message["data"].decode()
