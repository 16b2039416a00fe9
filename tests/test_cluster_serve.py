"""A whole installation whose Redis is a real cluster."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from redis.crc import key_slot

from metering.partitions import live_key, partition_of
from tallygate.demo.upstream import StubUpstream
from tests.installations import configuration, serve
from tests.redis_cluster import TestCluster
from tests.tallygate.serving import serving


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    """A stub that answers like an LLM API."""
    with serving(StubUpstream()) as url:
        yield url


def test_calls_are_counted_on_a_cluster(
    tmp_path: Path, upstream: str, redis_cluster: TestCluster
) -> None:
    """To the token, also when the customer's partition has moved to another master."""
    redis_cluster.settled()
    redis_cluster.empty()
    with serve(tmp_path / "x", configuration(upstream, redis=redis_cluster.url)) as served:
        assert [served.chat(tokens=5).status_code for _ in range(4)] == [200] * 4
        served.counted(4)
        key = live_key(partition_of("cust-1", 64))
        source = redis_cluster.owner(key)
        target = next(one for one in redis_cluster.masters if one is not source)
        redis_cluster.move(key_slot(key.encode()), source, target)
        assert [served.chat(tokens=5).status_code for _ in range(4)] == [200] * 4
        served.counted(8)
        served.counted(8 * 5, "tokens_out")
        assert served.command.end() == 0
    assert "Traceback" not in served.command.stderr
