"""One Redis client: who makes it, its time-outs, and the translation of its errors.

Retries are ours, never the client's: every script is idempotent by position, and a client that
resends a command by itself would hide lost replies from the breaker.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from metering.errors import MeteringUnavailable, StoreUnsuitable, WriteUnknown


def connect(url: str, *, timeout_s: float = 2.0) -> Redis:
    """A client for `redis://`, `rediss://` or `unix://`. Connects at its first command.

    `timeout_s` bounds the connect and each reply.
    """
    return Redis.from_url(
        url,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        retry=Retry(NoBackoff(), 0),
        retry_on_timeout=False,
        health_check_interval=0,
    )


def text_of(value: bytes | str) -> str:
    """A reply as text; what is not UTF-8 in it is replaced."""
    return value.decode(errors="replace") if isinstance(value, bytes) else value


@contextmanager
def translated() -> Iterator[None]:
    """Redis errors as MeteringError: a refused connection changed nothing, a time-out is unknown."""
    try:
        yield
    except RedisTimeoutError as exc:
        raise WriteUnknown("Redis did not answer in time") from exc
    except RedisConnectionError as exc:
        raise MeteringUnavailable(f"Redis cannot be reached: {exc}") from exc
    except RedisError as exc:
        raise MeteringUnavailable(f"Redis refused: {exc}") from exc


async def check_policy(redis: Redis) -> None:
    """Refuse a Redis that may evict counters. Raises StoreUnsuitable.

    A service that tells its policy to nobody is let through: what it does cannot be asked.
    """
    policy = await _policy(redis)
    if policy not in (None, "noeviction"):
        raise StoreUnsuitable(
            f"Redis has maxmemory-policy {policy}, which deletes counters when memory runs short; "
            "set maxmemory-policy noeviction"
        )


async def _policy(redis: Redis) -> str | None:
    """From INFO, which managed services allow more often than CONFIG."""
    with translated():
        try:
            memory = await redis.info("memory")
        except RedisConnectionError:
            raise
        except ResponseError:
            return None
    found = memory.get("maxmemory_policy")
    return None if found is None else str(found)
