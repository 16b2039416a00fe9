from dataclasses import replace

import pytest
from redis.asyncio import Redis

from metering import findings
from metering.connection import connect
from metering.errors import MeteringUnavailable
from metering.findings import KEY, MOST_WAITING, Finding

pytestmark = pytest.mark.anyio

UNCERTAIN = Finding(
    "uncertain",
    "lane-1",
    "host-1",
    at=5,
    request_id="r:1",
    customer_id="cust-1",
    route="chat",
    started=4,
)
UNEXPLAINED = Finding("unexplained", "lane-1", "host-1", at=5, partition=7, first=3, last=9)


async def test_what_is_published_waits_and_comes_out_as_it_went_in(redis: Redis) -> None:
    """Every field, in both directions."""
    await findings.publish(redis, [UNCERTAIN, UNEXPLAINED])
    assert {f.kind: f for f in await findings.waiting(redis)} == {
        "uncertain": UNCERTAIN,
        "unexplained": UNEXPLAINED,
    }


async def test_what_is_taken_does_not_wait_again(redis: Redis) -> None:
    """However often it is published; what is not taken is named as such."""
    identities = [UNCERTAIN.identity, UNEXPLAINED.identity]
    assert await findings.untaken(redis, identities) == set(identities)
    await findings.publish(redis, [UNCERTAIN, UNEXPLAINED])
    assert await findings.untaken(redis, identities) == set(identities)
    await findings.taken(redis, [UNCERTAIN.identity])
    await findings.publish(redis, [UNCERTAIN, UNEXPLAINED])
    assert await findings.waiting(redis) == [UNEXPLAINED]
    assert await findings.untaken(redis, identities) == {UNEXPLAINED.identity}


async def test_the_first_who_says_it_is_believed(redis: Redis) -> None:
    """Another adopter finds the same thing later: it is the same finding."""
    await findings.publish(redis, [UNCERTAIN])
    await findings.publish(redis, [replace(UNCERTAIN, at=99, host="host-2")])
    assert await findings.waiting(redis) == [UNCERTAIN]


async def test_dropped_is_forgotten(redis: Redis) -> None:
    """Taken or waiting."""
    await findings.publish(redis, [UNCERTAIN, UNEXPLAINED])
    await findings.taken(redis, [UNCERTAIN.identity])
    await findings.drop(redis, [UNCERTAIN.identity, UNEXPLAINED.identity, "unheard of"])
    assert await redis.hlen(KEY) == 0


async def test_a_ledger_that_was_set_back_asks_for_all_of_them_again(redis: Redis) -> None:
    """What waits still waits."""
    await findings.publish(redis, [UNCERTAIN, UNEXPLAINED])
    await findings.taken(redis, [UNCERTAIN.identity])
    await findings.untake(redis)
    assert await findings.waiting(redis) == [UNEXPLAINED]
    identities = [UNCERTAIN.identity, UNEXPLAINED.identity]
    assert await findings.untaken(redis, identities) == set(identities)


@pytest.mark.parametrize(
    "text",
    [
        b"nonsense",
        b"{}",
        b"\xff",
        b'{"kind":"odd","lane":"l","host":"h","at":1}',
        b'{"kind":"uncertain","lane":"l","host":"h","at":9223372036854775808}',
        b"x" * 10_000,
    ],
)
async def test_what_cannot_be_read_is_passed_over_and_counted(redis: Redis, text: bytes) -> None:
    """Somebody else wrote there; the others are still found."""
    await redis.hset(KEY, "odd", text)
    await findings.publish(redis, [UNCERTAIN])
    assert await findings.read(redis) == ([UNCERTAIN], 1)


async def test_a_run_reads_a_bounded_number(redis: Redis) -> None:
    """The next one reads on where these are taken; no call is larger than a few hundred."""
    many = [replace(UNCERTAIN, started=number) for number in range(MOST_WAITING + 300)]
    await findings.publish(redis, many)
    seen: set[str] = set()
    for _ in range(2):
        found = await findings.waiting(redis)
        assert 0 < len(found) <= MOST_WAITING
        seen |= {each.identity for each in found}
        await findings.taken(redis, [each.identity for each in found])
    assert seen == {each.identity for each in many}
    assert await findings.untaken(redis, seen) == set()
    await findings.drop(redis, seen)
    assert await redis.exists(KEY) == 0


def test_identities_tell_findings_apart() -> None:
    """By what they are about, whatever a request's id looks like."""
    different = [
        UNCERTAIN,
        UNEXPLAINED,
        replace(UNCERTAIN, request_id="r:2"),
        replace(UNCERTAIN, started=5),
        replace(UNCERTAIN, lane="lane-2"),
        replace(UNEXPLAINED, partition=8),
        replace(UNEXPLAINED, last=10),
        replace(UNEXPLAINED, kind="lost_lane"),
    ]
    assert len({each.identity for each in different}) == len(different)


async def test_a_redis_that_is_away_is_said() -> None:
    """As a condition of the kernel, by every function."""
    redis = connect("unix:///nowhere/valkey.sock")
    for call in (
        findings.publish(redis, [UNCERTAIN]),
        findings.waiting(redis),
        findings.taken(redis, ["x"]),
        findings.untaken(redis, ["x"]),
        findings.drop(redis, ["x"]),
        findings.untake(redis),
    ):
        with pytest.raises(MeteringUnavailable):
            await call
    await redis.aclose()
