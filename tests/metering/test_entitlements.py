import json
from contextlib import aclosing

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from metering import entitlements
from metering.connection import connect
from metering.entitlement import (
    EntitledInstance,
    EntitledKey,
    EntitlementSnapshot,
    InstanceStatus,
)
from metering.errors import MeteringUnavailable

pytestmark = pytest.mark.anyio

CUSTOMER = EntitlementSnapshot(
    "cust-1",
    "示例",
    (EntitledKey("1", "d1"), EntitledKey("2", "d2")),
    (EntitledInstance("i1", "p1", InstanceStatus.FROZEN),),
)


async def test_what_is_put_is_found(redis: Redis) -> None:
    """A snapshot comes back whole, alone and among all."""
    other = EntitlementSnapshot("cust-2", "")
    await entitlements.put(redis, [CUSTOMER, other])
    assert await entitlements.get(redis, "cust-1") == CUSTOMER
    assert await entitlements.get(redis, "cust-3") is None
    everyone = await entitlements.get_all(redis)
    assert sorted(s.customer_id for s in everyone.snapshots) == ["cust-1", "cust-2"]
    assert everyone.unreadable == 0


def spoiled(**fields: object) -> str:
    whole = {"customer_id": "cust-1", "name": "x", "keys": [], "instances": []}
    return json.dumps(whole | fields)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "{",
        "null",
        "7",
        "[]",
        '{"customer_id": "cust-1"}',
        "[" * 100_000,
        b"\xff\xfe",
        spoiled(customer_id=7),
        spoiled(customer_id="cust-2"),
        spoiled(name=None),
        spoiled(keys=[["k1"]]),
        spoiled(keys=[["k1", 7, 0, []]]),
        spoiled(keys=[["k1", "d", "soon", []]]),
        spoiled(keys=[["k1", "d", 0, [7]]]),
        spoiled(keys=7),
        spoiled(instances=[["i1", "p1", "melted"]]),
        spoiled(instances=[["i1", "p1"]]),
        spoiled(instances=[[1, "p1", "active"]]),
    ],
)
async def test_what_is_no_snapshot_is_passed_over(redis: Redis, value: str | bytes) -> None:
    """Whatever somebody wrote there is counted, and the others are read all the same."""
    await entitlements.put(redis, [EntitlementSnapshot("cust-2", "Two")])
    await redis.hset(entitlements.KEY, "cust-1", value)
    assert await entitlements.get(redis, "cust-1") is None
    everyone = await entitlements.get_all(redis)
    assert [s.customer_id for s in everyone.snapshots] == ["cust-2"]
    assert everyone.unreadable == 1


async def test_what_the_version_before_wrote_is_understood(redis: Redis) -> None:
    """Gateways and control plane need not be upgraded at the same moment."""
    old: dict[str, object] = {"customer_id": "cust-1", "name": "", "key_digests": ["d" * 64]}
    old["instances"] = [["i1", "p1", "frozen"]]
    await redis.hset(entitlements.KEY, "cust-1", json.dumps(old))
    assert await entitlements.get(redis, "cust-1") == EntitlementSnapshot(
        "cust-1",
        "",
        (EntitledKey("d" * 12, "d" * 64),),
        (EntitledInstance("i1", "p1", InstanceStatus.FROZEN),),
    )


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["customer_id", "name", "keys", "key_digests", "instances"]),
            inner,
            max_size=4,
        )
    ),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(value=json_values)
async def test_no_value_makes_reading_fail(redis: Redis, value: object) -> None:
    """Any JSON at all is a snapshot or is passed over."""
    await redis.hset(entitlements.KEY, "cust-1", json.dumps(value))
    everyone = await entitlements.get_all(redis)
    assert len(everyone.snapshots) + everyone.unreadable == 1


async def subscribed(redis: Redis) -> None:
    """Return when somebody listens."""
    while not (await redis.pubsub_numsub(entitlements.CHANNEL))[0][1]:  # noqa: ASYNC110
        await anyio.sleep(0.01)


async def test_changes_are_heard_as_they_happen(redis: Redis) -> None:
    """Whoever listens hears which customers were put, in order; a strange message does no harm."""
    heard: list[str] = []

    async def listen() -> None:
        async with aclosing(entitlements.changes(redis)) as changes:
            async for customer_id in changes:
                heard.append(customer_id)
                if len(heard) == 3:
                    return

    async with anyio.create_task_group() as group:
        group.start_soon(listen)
        await subscribed(redis)
        await redis.publish(entitlements.CHANNEL, b"\xff")
        await entitlements.put(redis, [CUSTOMER, EntitlementSnapshot("客户", "")])
    assert heard == ["�", "cust-1", "客户"]


async def test_a_redis_that_is_away_is_a_metering_error() -> None:
    """Also for those who listen."""
    away = connect("redis://127.0.0.1:1", timeout_s=0.5)
    with pytest.raises(MeteringUnavailable):
        await entitlements.put(away, [CUSTOMER])
    with pytest.raises(MeteringUnavailable):
        await anext(entitlements.changes(away))
    await away.aclose()


async def test_a_walk_meets_everybody_some_at_a_time(redis: Redis) -> None:
    """However many there are; a server that is away raises what every call raises."""
    everybody = [EntitlementSnapshot(f"c-{number}", "示例") for number in range(1500)]
    await entitlements.put(redis, everybody)
    met: dict[str, bytes] = {}
    steps = 0
    async for some in entitlements.walk(redis):
        met |= some
        steps += 1
    assert [entitlements.snapshot_of(each.customer_id, met[each.customer_id]) for each in everybody] == everybody  # fmt: skip
    assert len(met) == 1500
    assert steps > 3
    with pytest.raises(MeteringUnavailable):
        await anext(entitlements.walk(connect("redis://127.0.0.1:1")))


async def test_a_walk_through_nobody_ends(redis: Redis) -> None:
    """At once."""
    assert [some async for some in entitlements.walk(redis)] == [{}]
