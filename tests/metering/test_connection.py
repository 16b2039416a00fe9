import socket
from collections.abc import Awaitable

import pytest
from redis.asyncio import Redis

from metering.connection import check_policy, connect, connect_one, text_of, translated
from metering.errors import MeteringUnavailable, StoreUnsuitable, WriteUnknown

pytestmark = pytest.mark.anyio


async def ask(redis: Redis, answer: Awaitable[object]) -> None:
    try:
        with translated():
            await answer
    finally:
        await redis.aclose()


async def test_nobody_there_changed_nothing() -> None:
    """A refused connection is MeteringUnavailable, and the text names the address."""
    away = connect_one("redis://127.0.0.1:1")
    with pytest.raises(MeteringUnavailable, match=r"cannot be reached.*127\.0\.0\.1:1"):
        await ask(away, away.ping())


async def test_a_lost_reply_is_unknown() -> None:
    """Somebody who takes the command and says nothing may have done it."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        silent = connect_one(f"redis://127.0.0.1:{mute.getsockname()[1]}", timeout_s=0.1)
        with pytest.raises(WriteUnknown):
            await ask(silent, silent.incr("x"))


async def test_a_refusal_is_unavailable(redis: Redis) -> None:
    """What the server rejects changed nothing."""
    await redis.set("text", "x")
    with pytest.raises(MeteringUnavailable, match="refused"):
        await ask(redis, redis.incr("text"))


async def test_commands_are_never_sent_again_by_the_client(valkey_url: str) -> None:
    """A broken connection is an error at once: repeating is for those who know positions."""
    client = connect_one(valkey_url)
    await client.ping()
    await client.client_kill_filter(skipme=False)
    with pytest.raises(MeteringUnavailable):
        await ask(client, client.incr("x"))


async def test_no_secret_is_told() -> None:
    """The password in a URL shows in no error."""
    away = connect_one("redis://user:hunter2@127.0.0.1:1")
    with pytest.raises(MeteringUnavailable) as failure:
        await ask(away, away.ping())
    assert "hunter2" not in str(failure.value)


@pytest.mark.parametrize(
    "url",
    [
        "redis://:hunter2@h?colour=blue",
        "redis://:hunter2@h?socket_timeout=soon",
        "redis+cluster://:hunter2@h/7",
        "memcached://:hunter2@h",
        "redis://u:hunter2/x@h",
    ],
)
async def test_a_url_that_cannot_be_used(url: str) -> None:
    """It is refused before anything is asked, and its password is not told."""
    with pytest.raises(StoreUnsuitable, match="URL cannot be used") as refusal:
        connect(url)
    assert "hunter2" not in str(refusal.value)


async def test_an_option_no_node_of_a_cluster_knows() -> None:
    """It is refused at the first command."""
    store = connect("redis+cluster://h:1?colour=blue")
    with pytest.raises(StoreUnsuitable, match="colour"):
        await check_policy(store)
    await store.aclose()


async def test_a_redis_that_keeps_everything_is_accepted(redis: Redis) -> None:
    """noeviction is the only policy under which counters are safe."""
    await check_policy(redis)


async def test_a_redis_that_evicts_is_refused(redis: Redis) -> None:
    """The text says what to set."""
    await redis.config_set("maxmemory-policy", "allkeys-lru")
    try:
        with pytest.raises(StoreUnsuitable, match=r"allkeys-lru.*set maxmemory-policy noeviction"):
            await check_policy(redis)
    finally:
        await redis.config_set("maxmemory-policy", "noeviction")


async def test_a_service_that_forbids_config_is_asked_by_info(
    redis: Redis, valkey_url: str
) -> None:
    """Managed services hide CONFIG; INFO tells the policy too."""
    await redis.acl_setuser(
        "app", enabled=True, nopass=True, keys="*", commands=["+@all", "-config"]
    )
    await redis.config_set("maxmemory-policy", "volatile-ttl")
    limited = Redis.from_url(valkey_url, username="app", password="x")
    try:
        with pytest.raises(StoreUnsuitable):
            await check_policy(limited)
    finally:
        await limited.aclose()
        await redis.config_set("maxmemory-policy", "noeviction")
        await redis.acl_deluser("app")


async def test_a_service_that_tells_nothing_is_let_through(redis: Redis, valkey_url: str) -> None:
    """What cannot be asked is not held against anybody."""
    await redis.acl_setuser(
        "app", enabled=True, nopass=True, keys="*", commands=["+@all", "-config", "-info"]
    )
    limited = Redis.from_url(valkey_url, username="app", password="x")
    await check_policy(limited)
    await limited.aclose()
    await redis.acl_deluser("app")


async def test_the_policy_of_nobody_cannot_be_asked() -> None:
    """A Redis that is away is no unsuitable one."""
    away = connect_one("redis://127.0.0.1:1")
    with pytest.raises(MeteringUnavailable):
        await check_policy(away)
    await away.aclose()


@pytest.mark.parametrize(("value", "text"), [(b"a", "a"), ("b", "b"), (b"\xff", "�")])
def test_replies_are_read_as_text(value: bytes | str, text: str) -> None:
    """What is not UTF-8 is replaced, never raised."""
    assert text_of(value) == text
