"""Everything that is done in Redis, on three real masters that share the partitions."""

import signal
import threading
import time
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import anyio
import pytest
from redis.crc import key_slot
from sqlalchemy import Engine

from metering import deltas, entitlements, heartbeats
from metering.cluster import Cluster
from metering.connection import check_policy, connect
from metering.counters import Counters
from metering.entitlement import EntitlementSnapshot
from metering.errors import MeteringUnavailable, NodeUnavailable, StoreUnsuitable, WriteUnknown
from metering.heartbeats import Heartbeat
from metering.partitions import live_key
from metering.protocol import Batch
from tests.counting import PARTITIONS, Counting
from tests.fakes import usage_record
from tests.redis_cluster import Server, TestCluster, server

pytestmark = pytest.mark.anyio


@pytest.fixture
def servers(redis_cluster: TestCluster) -> TestCluster:
    """The session's cluster, whole and emptied."""
    redis_cluster.settled()
    redis_cluster.empty()
    return redis_cluster


@asynccontextmanager
async def client_of(url: str, timeout_s: float = 5.0) -> AsyncIterator[Cluster]:
    client = connect(url, timeout_s=timeout_s)
    assert isinstance(client, Cluster)
    try:
        yield client
    finally:
        await client.aclose()


@pytest.fixture
async def store(servers: TestCluster, anyio_backend: str) -> AsyncIterator[Cluster]:
    """A client that knows nothing of it yet."""
    async with client_of(servers.url) as client:
        yield client


def batch(partition: int, start: int, end: int, tokens: int = 7) -> Batch:
    counted = deltas.merge([usage_record(tokens_in=tokens)])
    return Batch(partition, "e", "lane", start, end, counted)


async def started(store: Cluster, *partitions: int) -> Counters:
    counters = Counters(store)
    for partition in partitions:
        await counters.reset(partition, epoch="e", last="d0", checkpoints={})
    return counters


async def test_every_partition_counts_once(store: Cluster, servers: TestCluster) -> None:
    """Whoever holds it; a repeated batch is a gap, one of another epoch counts nothing."""
    partitions = [servers.partition_of(master) for master in servers.masters]
    counters = await started(store, *partitions)
    for partition in partitions:
        assert await counters.apply(batch(partition, 0, 3)) == ("ok", "e", 3, 0)
        assert await counters.apply(batch(partition, 0, 3)) == ("gap", "e", 3, 0)
        other = batch(partition, 3, 4)._replace(epoch="e2")
        assert await counters.apply(other) == ("epoch", "e", 3, 0)
        live, _ = await counters.read(partition)
        assert live is not None
        assert sum(live.deltas.values()) == 7
        assert servers.owner(live_key(partition)).ask("HGET", live_key(partition), "p:lane") == "3"


async def test_a_partition_is_drained_and_reset(store: Cluster, servers: TestCluster) -> None:
    """Both hashes of a partition are on one node: scripts may touch them together."""
    partition = servers.partition_of(servers.masters[1])
    counters = await started(store, partition)
    await counters.apply(batch(partition, 0, 4))
    assert await counters.set_aside(partition, epoch="e", last="d0", new_id="d1")
    head = await counters.head(partition)
    assert await counters.heads([partition]) == {}
    assert (head.last, head.drain_id, head.drain_prev) == ("d1", "d1", "d0")
    checkpoints = {"lane": 4}
    assert await counters.drop_drain(partition, drain_id="d1", epoch="e", checkpoints=checkpoints)
    assert await counters.apply(batch(partition, 4, 5)) == ("ok", "e", 5, 4)
    await counters.reset(partition, epoch="e2", last="d1", checkpoints=checkpoints)
    assert (await counters.apply(batch(partition, 5, 6)))[0] == "epoch"


async def test_a_node_that_forgot_the_scripts_is_told_again(
    store: Cluster, servers: TestCluster
) -> None:
    """Each node learns them by itself, and one that took over has never heard of them."""
    counters = await started(store, *(servers.partition_of(one) for one in servers.masters))
    for master in servers.masters:
        master.ask("SCRIPT", "FLUSH")
        assert (await counters.head(servers.partition_of(master))).epoch == "e"


async def test_entitlements_reach_every_gateway(store: Cluster, servers: TestCluster) -> None:
    """Whichever node a gateway listens at, it hears what was put at another."""
    told = [EntitlementSnapshot("cust-1", "One"), EntitlementSnapshot("cust-2", "Two")]
    heard: list[str] = []

    async def listen() -> None:
        async with aclosing(entitlements.changes(store)) as changes:
            heard.extend([await anext(changes), await anext(changes)])

    with anyio.fail_after(30):
        async with anyio.create_task_group() as group:
            for _ in servers.masters:
                group.start_soon(listen)
            while not all(listened_at(one) for one in servers.masters):  # noqa: ASYNC110  (they tell nobody)
                await anyio.sleep(0.01)
            await entitlements.put(store, told)
    assert heard == ["cust-1", "cust-2"] * 3
    assert await entitlements.get(store, "cust-1") == told[0]
    everyone = await entitlements.get_all(store)
    assert sorted(one.customer_id for one in everyone.snapshots) == ["cust-1", "cust-2"]
    met = [each async for some in entitlements.walk(store) for each in some]
    assert sorted(met) == ["cust-1", "cust-2"]


def listened_at(one: Server) -> bool:
    return bool(one.ask("PUBSUB", "NUMSUB", entitlements.CHANNEL)[1])


async def test_lanes_beat_and_say_farewell(store: Cluster) -> None:
    """One hash, on one node, whichever that is."""
    await heartbeats.beat(store, "lane-1", Heartbeat(1000, 1001))
    await heartbeats.beat(store, "lane-2", Heartbeat(2000, 2001))
    await heartbeats.farewell(store, "lane-1")
    assert await heartbeats.read(store) == {"lane-2": Heartbeat(2000, 2001)}


async def test_one_node_that_evicts_is_enough(store: Cluster, servers: TestCluster) -> None:
    """The text names it."""
    await check_policy(store)
    bad = servers.masters[2]
    bad.ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    try:
        with pytest.raises(StoreUnsuitable, match=f"Redis at {bad.address} has .*allkeys-lru"):
            await check_policy(store)
    finally:
        bad.ask("CONFIG", "SET", "maxmemory-policy", "noeviction")


async def test_a_url_of_the_wrong_kind_says_which_to_write(
    servers: TestCluster, tmp_path: Path
) -> None:
    """A node of a cluster is no single server, and a single server is no cluster."""
    node = connect(servers.masters[0].url)
    with pytest.raises(MeteringUnavailable, match=r"write redis\+cluster://host:port"):
        await Counters(node).head(servers.partition_of(servers.masters[1]))
    await node.aclose()
    with server(tmp_path) as single:
        async with client_of(f"redis+cluster://{single.address}") as no_cluster:
            with pytest.raises(StoreUnsuitable, match=f"is no cluster.*redis://{single.address}"):
                await check_policy(no_cluster)


async def test_a_slot_that_moved_is_followed(store: Cluster, servers: TestCluster) -> None:
    """MOVED: asked for where it was, answered from where it is, and known from then on."""
    source, target = servers.masters[:2]
    partition = servers.partition_of(source)
    counters = await started(store, partition)
    await counters.apply(batch(partition, 0, 1))
    servers.move(slot_of(partition), source, target)
    assert await counters.apply(batch(partition, 1, 2)) == ("ok", "e", 2, 0)
    told = redirections(source, "MOVED")
    assert told
    assert await counters.apply(batch(partition, 2, 3)) == ("ok", "e", 3, 0)
    assert redirections(source, "MOVED") == told


async def test_a_slot_on_its_way_is_followed(store: Cluster, servers: TestCluster) -> None:
    """ASK: the one call goes to where the key is already, on whatever connection is free there."""
    source, target = servers.masters[:2]
    partition = servers.partition_of(source)
    counters = await started(store, partition)
    async with anyio.create_task_group() as group:  # several connections to the target
        for _ in range(4):
            group.start_soon(counters.head, servers.partition_of(target))
    slot = slot_of(partition)
    servers.begin_move(slot, source, target)
    assert await counters.apply(batch(partition, 0, 1)) == ("ok", "e", 1, 0)
    servers.move_keys(slot, source, target)
    for position in range(1, 6):
        reply = await counters.apply(batch(partition, position, position + 1))
        assert reply == ("ok", "e", position + 1, 0)
    assert redirections(source, "ASK") >= 5
    assert servers.owner(live_key(partition)) is source
    servers.end_move(slot, source, target)
    assert await counters.apply(batch(partition, 6, 7)) == ("ok", "e", 7, 0)


async def test_a_script_of_two_keys_waits_for_the_move(
    store: Cluster, servers: TestCluster
) -> None:
    """TRYAGAIN: while one key is here and one is there, the partition is not drained."""
    source, target = servers.masters[:2]
    partition = servers.partition_of(source)
    counters = await started(store, partition)
    slot = slot_of(partition)
    servers.begin_move(slot, source, target)
    servers.move_keys(slot, source, target)
    with pytest.raises(MeteringUnavailable, match=r"refused: .*Multiple keys"):
        await counters.set_aside(partition, epoch="e", last="d0", new_id="d1")
    servers.end_move(slot, source, target)
    assert await counters.set_aside(partition, epoch="e", last="d0", new_id="d1")


async def test_nodes_that_disagree_are_not_followed_forever(
    store: Cluster, servers: TestCluster
) -> None:
    """Each says that the other one holds the slot."""
    source, target = servers.masters[:2]
    partition = servers.partition_of(source)
    slot, said = slot_of(partition), ""
    for _ in range(100):  # the servers talk to each other, and soon agree again
        source.ask("CLUSTER", "SETSLOT", slot, "NODE", target.ask("CLUSTER", "MYID"))
        try:
            await Counters(store).head(partition)
        except MeteringUnavailable as refusal:
            said = str(refusal)
            break
    servers.end_move(slot, source, target)
    assert "from node to node" in said
    assert (await Counters(store).head(partition)).epoch == ""


def slot_of(partition: int) -> int:
    return key_slot(live_key(partition).encode())


def redirections(one: Server, kind: str) -> int:
    """How often the server has sent somebody on."""
    told = one.ask("INFO", "errorstats").get(f"errorstat_{kind}", {"count": 0})
    return int(told["count"])


def wander(servers: TestCluster) -> None:
    """Every partition moves to another master, slowly."""
    for partition in range(PARTITIONS):
        slot, source = slot_of(partition), servers.owner(live_key(partition))
        target = servers.masters[servers.masters.index(source) - 1]
        servers.begin_move(slot, source, target)
        servers.move_keys(slot, source, target)
        time.sleep(0.1)
        servers.end_move(slot, source, target)


async def test_partitions_wander_while_they_are_counted(
    store: Cluster, servers: TestCluster, engine: Engine, tmp_path: Path
) -> None:
    """Whatever comes between, every call is in the ledger, once."""
    counting = Counting(store, engine, tmp_path)
    try:
        await counting.load(1)
        before = [sent_on(servers, "MOVED"), sent_on(servers, "ASK")]
        wanderer = threading.Thread(target=wander, args=[servers])
        wanderer.start()
        while wanderer.is_alive():
            await counting.load(1)
        moved, asked = sent_on(servers, "MOVED"), sent_on(servers, "ASK")
        assert moved > before[0]
        assert asked > before[1]
        await counting.settle()
    finally:
        counting.close()


def sent_on(servers: TestCluster, kind: str) -> int:
    return sum(redirections(one, kind) for one in servers.masters)


async def test_a_frozen_node_holds_up_nobody_else(servers: TestCluster) -> None:
    """One call waits for it in vain; the next ones fail at once; the others are answered."""
    frozen, well = servers.masters[:2]
    ours, others = servers.partition_of(frozen), servers.partition_of(well)
    async with client_of(servers.url, timeout_s=0.2) as store:
        counters = await started(store, ours, others)
        frozen.tell(signal.SIGSTOP)
        try:
            with pytest.raises(WriteUnknown):
                await counters.apply(batch(ours, 0, 1))
            for position in range(3):
                with pytest.raises(NodeUnavailable):
                    await counters.apply(batch(ours, 0, 1))
                reply = await counters.apply(batch(others, position, position + 1))
                assert reply.status == "ok"
            async with client_of(servers.url, timeout_s=0.2) as newcomer:
                assert (await Counters(newcomer).head(others)).epoch == "e"
        finally:
            frozen.tell(signal.SIGCONT)
        servers.settled()
        with anyio.fail_after(30):
            while not await applied(counters, ours):  # noqa: ASYNC110  (Redis sends no event)
                await anyio.sleep(0.1)
        live, _ = await counters.read(ours)
        assert live is not None
        assert sum(live.deltas.values()) == 7


async def applied(counters: Counters, partition: int) -> bool:
    """Whether the first batch is; the call that got no answer may have done it late."""
    try:
        return (await counters.apply(batch(partition, 0, 1))).position == 1
    except (NodeUnavailable, WriteUnknown):
        return False


async def test_a_cluster_that_is_away_is_unavailable() -> None:
    """Every node is tried; then the calls of the next moment fail without another try."""
    async with client_of("redis+cluster://:hunter2@127.0.0.1:1,127.0.0.1:2") as away:
        for _ in range(3):
            with pytest.raises(MeteringUnavailable, match="cluster") as failure:
                await Counters(away).head(1)
            assert "hunter2" not in str(failure.value)
        with pytest.raises(MeteringUnavailable):
            await anext(entitlements.changes(away))
        with pytest.raises(MeteringUnavailable):
            await check_policy(away)


async def test_a_cluster_without_the_slot_is_unavailable(tmp_path: Path) -> None:
    """Nobody holds it: by the map, and by what a node says that knows better."""
    with server(tmp_path, clustered=True) as empty:
        async with client_of(f"redis+cluster://{empty.address}") as store:
            with pytest.raises(MeteringUnavailable, match="no node of the cluster"):
                await Counters(store).head(1)
        node = connect(empty.url)
        with pytest.raises(MeteringUnavailable, match="not served"):
            await Counters(node).head(1)
        await node.aclose()
