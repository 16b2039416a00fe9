"""The pools of a worker over real sockets: routes, reloads, names that move, the end."""

import os
import socket

import anyio
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from gateway.errors import UpstreamUnavailable
from gateway.pool import Pool
from gateway.pool_metrics import PoolMetrics
from gateway.pools import Pools
from gateway.resolving import Address
from gateway.routing import RouteTable
from gateway.settings import Route
from tests.gateway.callers import (
    Hearing,
    Listening,
    connect,
    listening,
    pooled,
    reset,
    table,
    until,
)

pytestmark = pytest.mark.anyio


def both(first: str, second: str, **route: object) -> RouteTable:
    """Two routes, to one upstream each."""
    return RouteTable(
        [
            Route.model_validate({"name": "a", "path": "/a", "upstream": [first], **route}),
            Route.model_validate({"name": "b", "path": "/b", "upstream": [second]}),
        ]
    )


async def test_routes_share_the_pool_of_an_upstream() -> None:
    """Unless their settings differ, or the path below it."""
    pools = Pools()
    async with pools.running():
        pools.serve(both("http://up:1", "http://up:1").routes)
        a, b = (pools.balancers[name].pick() for name in "ab")
        assert a is b
        pools.serve(both("http://up:1", "http://up:1", pool={"keepalive": 1}).routes)
        a, b = (pools.balancers[name].pick() for name in "ab")
        assert a is not b
        pools.serve(both("http://up:1/x", "http://up:1").routes)
        a, b = (pools.balancers[name].pick() for name in "ab")
        assert (a.upstream.path, b.upstream.path) == (b"/x", b"")


async def test_an_upstream_named_twice_is_one() -> None:
    """Two pools of it would be ejected one by one."""
    async with pooled("http://up:1", "http://up:1/") as pools:
        assert len(pools.balancers["chat"].pools) == 1


async def test_a_reload_keeps_what_stays() -> None:
    """Connections and health of the routes that did not change; exchanges end where they are."""
    with listening() as stays, listening() as goes:
        pools = Pools()
        async with pools.running():
            pools.serve(both(stays.url, goes.url).routes)
            before = dict(pools.balancers)
            kept, _ = await connect(before["a"].pick())
            left, _ = await connect(before["b"].pick())
            kept.release()
            pools.serve(table(stays.url).routes + both(stays.url, stays.url).routes[:1])
            assert pools.balancers["a"] is before["a"]
            assert pools.balancers["a"].pick().idle == 1
            old = before["b"].pick()
            assert old.open == 1
            late, _ = await connect(old)  # an exchange that was let in before
            late.release()
            left.release()
            await until(lambda: old not in list(pools.all()))


async def test_bad_settings_change_nothing() -> None:
    """A reload that cannot be is none."""
    async with pooled("http://up:1") as pools:
        before = pools.balancers["chat"]
        with pytest.raises(OSError, match=r"none\.pem"):
            pools.serve(table("https://up:1", pool={"ca_file": "/none.pem"}).routes)
        assert pools.balancers["chat"] is before
        assert [pool.origin for pool in pools.all()] == ["http://up:1"]


async def test_idle_connections_are_closed_in_time() -> None:
    """By the loop beside the pools."""
    with listening() as server:
        async with pooled(server.url, pool={"keepalive": 0.05}) as pools:
            pool = pools.balancers["chat"].pick()
            connection, _ = await connect(pool)
            connection.release()
            await until(lambda: not pool.open)


async def test_a_name_that_moves_is_followed() -> None:
    """Idle connections to the old address are closed, new ones go to the new one."""
    with listening() as old, listening() as new:
        ports = [int(server.url.rpartition(":")[2]) for server in (old, new)]

        async def resolve(host: str, port: int) -> list[Address]:
            return [Address(socket.AF_INET, ("127.0.0.1", ports[0]))]

        async with pooled("http://up.test", resolve=resolve, pool={"dns_ttl": 1}) as pools:
            pool = pools.balancers["chat"].pick()
            idle, _ = await connect(pool)
            busy, _ = await connect(pool)
            idle.release()
            ports.reverse()
            await until(lambda: not idle.usable)
            assert pool.open == 1
            busy.release()
            assert pool.open == 0
            connection, _ = await connect(pool)
            assert connection.address == Address(socket.AF_INET, ("127.0.0.1", ports[0]))


async def test_an_ejected_upstream_comes_back() -> None:
    """When it takes connections again."""
    with listening() as well, listening() as ill:
        port = int(ill.url.rpartition(":")[2])
        async with pooled(well.url, ill.url, health={"eject": 0.05, "failures": 1}) as pools:
            balancer = pools.balancers["chat"]
            balancer.failed(balancer.pools[1])
            assert balancer.pick() is balancer.pick() is balancer.pools[0]
            await until(lambda: balancer.healthy == 2)
            assert ill.accept().getsockname()[1] == port
            assert balancer.pools[1].idle == 1


async def test_at_the_end_nothing_is_left() -> None:
    """Idle connections are closed, who waits is refused, connects are called off."""
    with listening() as server:
        pools = Pools()
        async with pools.running():
            pools.serve(table(server.url, pool={"max_connections": 2}).routes)
            pool = pools.balancers["chat"].pick()
            idle, _ = await connect(pool)
            busy, caller = await connect(pool)
            waiting = Hearing()
            assert pool.take(waiting) is None
            pool.give_up(waiting)
            idle.release()
            assert pool.take(Hearing()) is idle
            assert pool.take(waiting) is None
        assert isinstance(waiting.refusal, UpstreamUnavailable)
        assert not caller.heard[1:]
        busy.close()
        idle.close()
        assert pool.open == 0


async def test_connects_under_way_are_called_off() -> None:
    """Leaving does not wait for them."""

    async def resolve(host: str, port: int) -> list[Address]:
        await anyio.sleep(60)
        return []

    waiting = Hearing()
    with anyio.fail_after(10):
        async with pooled("http://up.test", resolve=resolve) as pools:
            pools.balancers["chat"].pick().take(waiting)
            await anyio.sleep(0.01)
    assert isinstance(waiting.refusal, UpstreamUnavailable)


async def test_the_loop_survives_a_bug(caplog: pytest.LogCaptureFixture) -> None:
    """One bad sweep is logged, and the next one comes."""

    async def resolve(host: str, port: int) -> list[Address]:
        raise RuntimeError

    async with pooled("http://a", "http://b", resolve=resolve, pool={"keepalive": 0.1}) as pools:
        condition = pools.balancers["chat"].conditions.popitem()[1]
        pools.balancers["chat"].conditions[None] = condition  # type: ignore[index]  # the bug
        condition.ejected = True
        await until(lambda: "looking after the upstream connections failed" in caplog.text)
        assert pools.balancers["chat"].healthy == 2


async def test_figures_are_shown() -> None:
    """By upstream and by route; none is a customer's."""
    with listening() as server:
        async with pooled(server.url, "http://127.0.0.1:1") as pools:
            balancer = pools.balancers["chat"]
            connection, _ = await connect(balancer.pools[0])
            connection.release()
            assert balancer.pools[0].take(Hearing()) is connection
            balancer.pick([balancer.pools[0]])
            registry = CollectorRegistry()
            registry.register(PoolMetrics(pools))
            shown = generate_latest(registry).decode()
    up = f'{{upstream="{server.url}"}}'
    for line in (
        f"gateway_upstream_connections{up} 1.0",
        f"gateway_upstream_connections_idle{up} 0.0",
        f"gateway_upstream_connections_opened_total{up} 1.0",
        f"gateway_upstream_connections_reused_total{up} 1.0",
        'gateway_upstreams_healthy{route="chat"} 2.0',
        'gateway_upstream_retries_total{route="chat"} 1.0',
    ):
        assert line in shown


@pytest.mark.parametrize("use_uvloop", [False, True])
@pytest.mark.parametrize("end", ["release", "close", "reset", "give up"])
def test_no_descriptor_is_lost(use_uvloop: bool, end: str) -> None:
    """However exchanges end, the open files are as many as before."""

    async def exchanges() -> None:
        with listening() as server:
            async with pooled(server.url, pool={"keepalive": 0.01}) as pools:
                pool = pools.balancers["chat"].pick()
                warm, _ = await connect(pool)  # the loop opens some for itself
                warm.close()
                server.accept().close()
                before = len(os.listdir("/dev/fd"))
                for _ in range(50):
                    await exchange(pool, server, end)
                await until(lambda: not (pool.open or pool.connecting or pool.outstanding))
                for peer in server.accepted:
                    peer.close()
                while pool.figures.opened > len(server.accepted):
                    server.accept().close()
                await until(lambda: len(os.listdir("/dev/fd")) <= before)

    anyio.run(exchanges, backend_options={"use_uvloop": use_uvloop})


async def exchange(pool: Pool, server: Listening, end: str) -> None:
    """One that ends in this way."""
    if end == "give up":
        waiting = Hearing()
        taken = pool.take(waiting)
        pool.give_up(waiting)
        if taken is not None:
            taken.close()
        return
    connection, caller = await connect(pool)
    if end == "reset":
        reset(server.accept())
        await caller.hears("lost")
    elif end == "close":
        connection.close()
    else:
        connection.release()
