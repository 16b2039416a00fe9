"""One Redis client: who makes it, its time-outs, and the translation of its errors.

Retries are ours, never the client's: every script is idempotent by position, and a client that
resends a command by itself would hide lost replies from the breaker.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TypeAlias

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import MovedError, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from metering.cluster import Cluster
from metering.errors import MeteringUnavailable, NodeUnavailable, StoreUnsuitable, WriteUnknown
from metering.nodes import Command, NodeAway, send_together
from metering.redis_urls import is_cluster, parse_cluster

Store: TypeAlias = Redis | Cluster


def connect(url: str, *, timeout_s: float = 2.0) -> Store:
    """A client for the Redis of the URL, one server or a cluster. Connects at its first command.

    `timeout_s` bounds the connect and each reply. Raises StoreUnsuitable for a URL or an option
    that is none; for a cluster's options its first command does.
    """
    if not is_cluster(url):
        return connect_one(url, timeout_s=timeout_s)
    try:
        cluster = parse_cluster(url)
    except ValueError as wrong:
        raise StoreUnsuitable(f"the Redis URL cannot be used: {wrong}") from wrong
    return Cluster(
        cluster.nodes,
        lambda node: connect_one(cluster.of(node), timeout_s=timeout_s),
        find_s=2 * timeout_s,
    )


def connect_one(url: str, *, timeout_s: float = 2.0) -> Redis:
    """A client for one server: `redis://`, `rediss://` or `unix://`. Otherwise as `connect`."""
    try:
        client = Redis.from_url(
            url,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            retry=Retry(NoBackoff(), 0),
            retry_on_timeout=False,
            health_check_interval=0,
        )
        # Connects to nothing, but reads the options.
        client.connection_pool.make_connection()  # type: ignore[no-untyped-call]  # redis-py's gap
    except TypeError as unknown:
        raise StoreUnsuitable(f"the Redis URL cannot be used: {unknown}") from unknown
    except ValueError:  # whose text may show a part of a password
        raise StoreUnsuitable(
            "the Redis URL cannot be used; write redis://host:port/0 or unix:///path"
        ) from None
    return client


def text_of(value: bytes | str) -> str:
    """A reply as text; what is not UTF-8 in it is replaced."""
    return value.decode(errors="replace") if isinstance(value, bytes) else value


@contextmanager
def translated() -> Iterator[None]:
    """Redis errors as MeteringError. Whatever it says, the same call may be made again.

    A time-out is WriteUnknown: the server has the command and may still do it. A link that breaks
    before the reply is read cannot be told from a refused one, and is MeteringUnavailable.
    """
    try:
        yield
    except RedisTimeoutError as exc:
        raise WriteUnknown("Redis did not answer in time") from exc
    except NodeAway as exc:
        raise NodeUnavailable(f"Redis cannot be reached: {exc}") from exc
    except RedisConnectionError as exc:
        raise MeteringUnavailable(f"Redis cannot be reached: {exc}") from exc
    except MovedError as exc:
        raise MeteringUnavailable(
            "Redis is one node of a cluster; write redis+cluster://host:port in its place"
        ) from exc
    except RedisError as exc:
        raise MeteringUnavailable(f"Redis refused: {exc}") from exc


async def send_all(store: Store, key: str, commands: Sequence[Command]) -> None:
    """Several commands in one go, to the server that holds `key`. They must bear repetition."""
    if isinstance(store, Cluster):
        await store.together(key, commands)
    else:
        await send_together(store, commands)


async def one_of(store: Store) -> Redis:
    """A server of the store to listen at: what is published anywhere is heard there."""
    return await store.any_node() if isinstance(store, Cluster) else store


async def check_policy(store: Store) -> None:
    """Refuse a Redis that may evict counters, on any node. Raises StoreUnsuitable.

    A service that tells its policy to nobody is let through: what it does cannot be asked.
    """
    if not isinstance(store, Cluster):
        await _check_server(store, "Redis")
        return
    with translated():
        masters, replicas = await store.masters(), await store.replicas()
    for node, server in masters.items():
        await _check_server(server, f"Redis at {node}")
    for node, server in replicas.items():  # each may be a master tomorrow
        with suppress(MeteringUnavailable, WriteUnknown):
            await _check_server(server, f"Redis at {node}")


async def _check_server(server: Redis, name: str) -> None:
    policy = await _policy(server)
    if policy not in (None, "noeviction"):
        raise StoreUnsuitable(
            f"{name} has maxmemory-policy {policy}, which deletes counters when memory runs short; "
            "set maxmemory-policy noeviction"
        )


async def _policy(server: Redis) -> str | None:
    """From INFO, which managed services allow more often than CONFIG."""
    with translated():
        try:
            memory = await server.info("memory")
        except RedisConnectionError:
            raise
        except ResponseError:
            return None
    found = memory.get("maxmemory_policy")
    return None if found is None else str(found)
