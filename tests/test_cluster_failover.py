"""A master of a real cluster dies under load, and a replica that lacks its last writes takes over."""

from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
from sqlalchemy import Engine

from metering.connection import connect
from metering.partitions import live_key
from tests.counting import PARTITIONS, Counting
from tests.redis_cluster import Server, TestCluster, cluster

pytestmark = pytest.mark.anyio


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[TestCluster]:
    with cluster(tmp_path / "servers", "--cluster-node-timeout", "1000", replicas=1) as started:
        yield started


async def test_a_master_that_dies_costs_nothing(
    servers: TestCluster, engine: Engine, tmp_path: Path
) -> None:
    """What it had acknowledged and its replica had not is counted again from the journal."""
    master, replica = servers.masters[0], servers.replicas[0]
    held = next(live_key(p) for p in range(PARTITIONS) if servers.owner(live_key(p)) is master)
    store = connect(servers.url, timeout_s=1.0)
    counting = Counting(store, engine, tmp_path / "journal")
    try:
        await counting.drain()  # sets the partitions up
        await counting.load(3)
        servers.cut_off(replica, master)
        await counting.load(3)
        counting.record(50)
        assert await counting.flush()  # acknowledged, and only the master knows it
        assert written(master) > written(replica)
        master.kill()
        with anyio.fail_after(60):
            while servers.owner(held) is not replica:
                await counting.load(1)
        await counting.load(3)
        await counting.settle()
    finally:
        counting.close()
        await store.aclose()


def written(one: Server) -> int:
    """How much of the stream of writes the server has."""
    return int(one.ask("INFO", "replication")["master_repl_offset"])
