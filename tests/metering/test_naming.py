"""What a lane cannot account for, as findings."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis

from metering import findings
from metering.board import Open
from metering.findings import Finding
from metering.lanes import Gap, Sealed
from metering.naming import Lane, lost, named, uncertain, unexplained

LANE = Lane("lane", "host", 5)


def sealed_at(end: int, *opened: Open) -> Sealed:
    return Sealed(5, end, 4, end, {0: end}, {}, {}, list(opened))


def test_who_was_open_is_uncertain() -> None:
    """By id, customer, route and start."""
    (found,) = uncertain(LANE, sealed_at(3, Open("r:1", "客户", "chat", 4)))
    assert found == Finding(
        "uncertain",
        "lane",
        "host",
        5,
        request_id="r:1",
        customer_id="客户",
        route="chat",
        started=4,
    )


def test_what_only_the_ledger_knows_is_unexplained() -> None:
    """By the numbers behind the lane's end, for each partition that stands there."""
    found = list(unexplained(LANE, sealed_at(7), {0: 7, 1: 9, 2: 0, 3: 12}))
    assert [(f.partition, f.first, f.last) for f in found] == [(1, 8, 9), (3, 8, 12)]
    assert {(f.kind, f.lane, f.host, f.at) for f in found} == {("unexplained", "lane", "host", 5)}


def test_what_the_retention_took_is_lost_only_where_it_is_lacking() -> None:
    """A partition that had no records there, or stands behind them, lost nothing."""
    gaps = [Gap(1, 10, {0: 4, 1: 10}), Gap(30, 40, {1: 35, 2: 40})]
    found = list(lost(LANE, gaps, {0: 4, 1: 6, 2: 39, 3: 0}))
    assert [(f.partition, f.first, f.last) for f in found] == [(1, 7, 10), (1, 30, 35), (2, 40, 40)]


@given(
    ends=st.dictionaries(st.integers(0, 5), st.integers(10, 20)),
    positions=st.dictionaries(st.integers(0, 5), st.integers(0, 30)),
)
def test_lost_is_what_lies_behind_the_position(
    ends: dict[int, int], positions: dict[int, int]
) -> None:
    """Never before the gap, never beyond the partition's last record in it."""
    found = {f.partition: f for f in lost(LANE, [Gap(10, 20, ends)], positions)}
    for partition, end in ends.items():
        position = positions.get(partition, 0)
        assert (partition in found) == (position < end)
        if partition in found:
            assert found[partition].first == max(position + 1, 10)
            assert found[partition].last == end


@pytest.mark.anyio
async def test_names_are_said_until_the_ledger_has_them(redis: Redis) -> None:
    """Also when Redis forgets them in between; nothing to say is known at once."""
    names = list(unexplained(LANE, sealed_at(7), {0: 9, 1: 9}))
    assert await named(redis, [])
    assert not await named(redis, names)
    assert len(await findings.waiting(redis)) == 2
    await findings.taken(redis, [names[0].identity])
    assert not await named(redis, names)
    await redis.flushall()
    assert not await named(redis, iter(names))
    await findings.taken(redis, [name.identity for name in names])
    assert await named(redis, names)
