"""Lending on a real Valkey: who gets what, and what becomes of it when messages or lanes are lost."""

from collections.abc import Sequence
from typing import Any

import pytest
from redis.asyncio import Redis

from metering.bank import Bank, decode, encode
from metering.connection import connect
from metering.counters import Counters
from metering.errors import MeteringError
from metering.lending import (
    EVERYBODY,
    NOBODY,
    PACKAGE_LIFE_MS,
    SETTLE_MS,
    SLOT_LIFE_MS,
    Ask,
    Balance,
    Lent,
    PackageAsk,
    Part,
    RateAsk,
    Settling,
    SlotsAsk,
    account_of,
)
from metering.partitions import lease_key, lending_key, rate_key
from tests.fakes import FakeClock
from tests.redis_cluster import TestCluster

pytestmark = pytest.mark.anyio

ACCOUNT = account_of("cust-1", "TOKENS")
P = 3


class Lane:
    """A worker that says what it holds; every message has its turn."""

    def __init__(self, bank: Bank, name: str, epoch: str = "e") -> None:
        self.bank, self.name, self.epoch, self.turn = bank, name, epoch, 0

    async def says(self, *asks: Ask, turn: int = 0, **more: Any) -> list[Lent]:
        self.turn += 1
        return await self.bank.ask(P, self.name, self.epoch, turn or self.turn, asks, **more)

    async def gets(self, want: int, held: int = 0, least: int = 1, **more: Any) -> Lent:
        (lent,) = await self.says(PackageAsk(ACCOUNT, held, want, least), **more)
        return lent

    async def opens(self, want: int, held: int = 0, most: int = 10) -> Lent:
        (lent,) = await self.says(SlotsAsk("key", held, want, most))
        return lent


class House:
    """The bank, a clock in place of Redis' own, and lanes."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self.clock = FakeClock()
        self.bank = Bank(redis, self.clock.now_ms)
        self.a, self.b, self.c = (Lane(self.bank, name) for name in "abc")
        self.epoch = ""

    async def starts(self, epoch: str = "e", settling: Settling = NOBODY) -> None:
        self.epoch = self.a.epoch = self.b.epoch = self.c.epoch = epoch
        settling = settling._replace(now=self.clock.now_ms())
        await Counters(self.redis).reset(
            P, epoch=epoch, last="d", checkpoints={}, settling=settling
        )

    async def has(self, *lefts: int, version: int = 1, expires: Sequence[int] = ()) -> None:
        ends = [*expires, *[0] * len(lefts)]
        parts = tuple(
            Part(f"p{n}", left, left, end)
            for n, (left, end) in enumerate(zip(lefts, ends, strict=False))
        )
        assert await self.bank.tell(P, self.epoch, [Balance(ACCOUNT, version, 0, parts)])

    async def held(self) -> int:
        (sum_,) = await self.bank.leased(P, [ACCOUNT])
        return sum_


@pytest.fixture
async def house(redis: Redis) -> House:
    made = House(redis)
    await made.starts()
    return made


# --- packages -------------------------------------------------------------------------------


async def test_no_more_is_lent_than_the_ledger_has(house: House) -> None:
    """What one lane holds another does not get; near the end grants become small."""
    await house.has(1000)
    granted = [(await house.a.gets(400)).granted]
    granted += [(await lane.gets(400)).granted for lane in (house.b, house.c)]
    assert granted == [400, 300, 100]
    assert (await house.held()) == 800
    assert await house.a.gets(400, held=400) == Lent("ok", 66, 134)


async def test_less_than_is_of_use_is_not_lent(house: House) -> None:
    """The caller gets all that a call needs or nothing."""
    await house.has(100)
    assert (await house.a.gets(60)).granted == 60
    assert (await house.b.gets(60, least=41)).granted == 0
    assert (await house.b.gets(60, least=40)).granted == 40


async def test_who_was_refused_is_told_to_those_who_hold(house: House) -> None:
    """Until he gets something, or a while has passed."""
    await house.has(100)
    await house.a.gets(100)
    assert await house.b.gets(10) == Lent("ok", 0, 0)
    assert (await house.a.gets(0, held=100)).wanted
    assert not (await house.b.gets(0)).wanted
    assert not (await house.a.gets(0, held=50)).wanted  # b did not ask again: it needs no more
    await house.b.gets(60, least=60)
    house.clock.advance(ms=SETTLE_MS)
    assert not (await house.a.gets(0, held=50)).wanted


async def test_what_is_given_back_is_lent_again(house: House) -> None:
    """By saying how much is held by now."""
    await house.has(100)
    await house.a.gets(100)
    assert await house.a.gets(0, held=20) == Lent("ok", 0, 80)
    assert (await house.b.gets(80, least=80)).granted == 80


async def test_a_lost_reply_leaks_nothing(house: House) -> None:
    """The next message says what was held without it."""
    await house.has(100)
    await house.a.gets(100)  # its reply was lost
    assert (await house.a.gets(50, held=0)).granted == 50
    assert (await house.held()) == 50


async def test_a_late_message_changes_nothing(house: House) -> None:
    """One that comes after a newer message of its lane, or again."""
    await house.has(100)
    await house.a.gets(60, turn=5)
    assert (await house.a.gets(40, turn=4)).state == "late"
    assert (await house.a.gets(40, turn=5)).state == "late"
    assert (await house.held()) == 60


async def test_a_dead_lane_gives_back_what_it_held(house: House) -> None:
    """After its lease's life, and a while from when somebody noticed: not before, and only once."""
    await house.has(100)
    await house.a.gets(100)
    house.clock.advance(ms=PACKAGE_LIFE_MS - 1)
    assert (await house.b.gets(100)).granted == 0
    house.clock.advance(ms=1)
    assert await house.b.gets(100) == Lent("ok", 0, 0, retry_ms=SETTLE_MS)
    house.clock.advance(ms=SETTLE_MS - 1)
    assert (await house.b.gets(100)).retry_ms == 1
    house.clock.advance(ms=1)
    assert (await house.b.gets(100)).granted == 100
    assert (await house.c.gets(100)).granted == 0


async def test_who_was_only_late_keeps_what_he_held(house: House) -> None:
    """After an outage everybody is late; who says so in time loses nothing."""
    await house.has(100)
    await house.a.gets(100)
    house.clock.advance(ms=10 * PACKAGE_LIFE_MS)
    await house.b.gets(100)
    assert (await house.a.gets(0, held=100)).left == 0
    house.clock.advance(ms=SETTLE_MS)
    assert (await house.b.gets(100)).granted == 0


async def test_leases_outlive_any_outage(house: House) -> None:
    """Redis drops what is over by itself only where nothing was held."""
    await house.has(100)
    await house.a.gets(100)
    assert await house.redis.pttl(lease_key(P, ACCOUNT)) > 24 * 3_600_000
    await house.a.gets(0)
    assert await house.redis.pttl(lease_key(P, ACCOUNT)) <= PACKAGE_LIFE_MS


async def test_what_a_dead_lane_used_stays_held_until_the_ledger_has_it(house: House) -> None:
    """Redis knows of records that no drain has brought in: the ledger may be away for long."""
    await house.has(100)
    await house.a.gets(100)
    await house.redis.hset("{p03}:live", mapping={"p:a": "7", "k:a": "3"})
    house.clock.advance(ms=PACKAGE_LIFE_MS)
    await house.b.gets(100)
    house.clock.advance(ms=100 * SETTLE_MS)
    assert (await house.b.gets(100)).granted == 0
    await house.redis.hset("{p03}:live", "k:a", "7")
    assert (await house.b.gets(100)).granted == 100


async def test_more_used_than_there_is(house: House) -> None:
    """Nothing is lent, and everybody sees by how much."""
    await house.has(100)
    assert await house.a.gets(10, held=130) == Lent("ok", 0, -30)


async def test_several_packages_are_one_account(house: House) -> None:
    """Those that are over count no more, and what is held ends with the next that does."""
    soon = house.clock.now_ms() + 5_000
    await house.has(50, 30, expires=[soon, 0])
    assert await house.a.gets(10) == Lent("ok", 10, 70, life_ms=5_000)
    house.clock.advance(ms=5_000)
    assert await house.a.gets(0, held=10) == Lent("ok", 0, 20)


async def test_a_newer_balance_wins(house: House) -> None:
    """Whichever comes last."""
    await house.has(100, version=9)
    await house.has(500, version=8)
    await house.has(500, version=10)
    assert (await house.a.gets(0)).left == 500
    (balance,) = await house.bank.balances(P, [ACCOUNT, "other"])
    assert balance == Balance(ACCOUNT, 10, 0, (Part("p0", 500, 500, 0),))
    assert await house.bank.all_balances(P) == {ACCOUNT: balance}
    assert await house.bank.balances(P, []) == []
    assert await house.bank.leased(P, []) == []


async def test_an_account_that_nobody_told_of(house: House) -> None:
    """Nothing is lent; what is held is remembered."""
    assert (await house.a.gets(10, held=5)).state == "unknown"
    assert await house.held() == 5


async def test_balances_of_another_epoch_are_not_taken(house: House) -> None:
    """A control plane that was slow read them before the reset."""
    assert not await house.bank.tell(P, "older", [Balance(ACCOUNT, 9, 0, ())])
    assert await house.bank.tell(P, "e", [])
    assert await house.bank.all_balances(P) == {}


async def test_what_is_no_balance_is_passed_over(house: House) -> None:
    """Whoever wrote it."""
    for text in ("", "x", "[1]", "[1,2,3]", '[1,2,[["p",1]]]', '{"a":1}', "null"):
        assert decode(ACCOUNT, text) is None
    balance = Balance(ACCOUNT, 2**60, 1, (Part("p", 2**70, 2**69, 0),))
    assert decode(ACCOUNT, encode(balance)) == balance


async def test_huge_balances(house: House) -> None:
    """Beyond what doubles hold exactly, less is shown than there is; what is held stays exact."""
    await house.has(2**60, 2**62)
    lent = await house.a.gets(2**52 + 1)
    assert (lent.granted, lent.left) == (2**52 + 1, 2**52 - 1)
    assert await house.held() == 2**52 + 1


async def test_a_lease_that_nobody_can_read(house: House) -> None:
    """It is not ours, and goes."""
    await house.has(100)
    await house.redis.hset(lease_key(P, ACCOUNT), mapping={"x": "1 2", "!": "nonsense"})
    assert (await house.a.gets(100)).granted == 100
    assert not await house.redis.hexists(lease_key(P, ACCOUNT), "x")


async def test_many_accounts_in_one_message(house: House) -> None:
    """In parts, answered in their order."""
    accounts = [account_of("cust", str(n)) for n in range(450)]
    told = [Balance(each, 1, 0, (Part("p", n, n, 0),)) for n, each in enumerate(accounts)]
    assert await house.bank.tell(P, "e", told)
    lent = await house.a.says(*[PackageAsk(each, 0, 1000, n) for n, each in enumerate(accounts)])
    assert [each.granted for each in lent] == list(range(450))
    assert await house.bank.leased(P, accounts) == list(range(450))


# --- after a loss ---------------------------------------------------------------------------


async def test_another_epoch_lends_nothing(house: House) -> None:
    """Neither the one before a reset nor none."""
    await house.has(100)
    await house.starts("e2")
    house.a.epoch = "e"
    assert (await house.a.gets(10)).state == "epoch"
    assert (await Lane(house.bank, "a", "").gets(10)).state == "epoch"
    await house.redis.flushall()
    assert (await house.a.gets(10)).state == "epoch"
    assert await house.redis.dbsize() == 0


async def test_after_a_reset_nothing_is_lent_until_all_have_said_what_they_hold(
    house: House,
) -> None:
    """All that it holds: a message about one account is not enough."""
    await house.starts(settling=Settling(frozenset("ab")))
    await house.has(100)
    house.clock.advance(ms=SETTLE_MS)
    rest = PACKAGE_LIFE_MS - SETTLE_MS
    assert await house.c.gets(50) == Lent("settling", 0, 100, retry_ms=rest)
    assert (await house.a.gets(50, held=30)).state == "settling"
    assert (await house.a.gets(50, held=30, whole=True)).state == "settling"
    assert await house.b.says(whole=True) == []
    assert await house.c.gets(50) == Lent("ok", 35, 35)
    assert set(await house.redis.hkeys(lending_key(P))) == {b"n", b"h:a", b"h:c"}


async def test_after_a_reset_nothing_is_lent_for_a_while(house: House) -> None:
    """A lane that began just before it was not heard of."""
    await house.starts(settling=Settling(frozenset("a")))
    await house.has(100)
    assert (await house.a.gets(50, whole=True)).retry_ms == SETTLE_MS
    house.clock.advance(ms=SETTLE_MS - 1)
    assert (await house.a.gets(50)).state == "settling"
    house.clock.advance(ms=1)
    assert (await house.a.gets(50)).state == "ok"


async def test_nobody_is_waited_for_longer_than_his_lease_could_live(house: House) -> None:
    """Also where nobody knows who holds one."""
    for epoch, settling in (("e2", Settling(frozenset("ab"))), ("e3", EVERYBODY)):
        await house.starts(epoch, settling)
        await house.has(100)
        house.clock.advance(ms=PACKAGE_LIFE_MS - 1)
        assert (await house.a.gets(50, whole=True)).state == "settling"
        house.clock.advance(ms=1)
        assert (await house.a.gets(50)).retry_ms == SETTLE_MS
        house.clock.advance(ms=SETTLE_MS)
        assert (await house.a.gets(50)).state == "ok"


async def test_who_could_not_speak_after_a_reset_is_waited_for_once_more(house: House) -> None:
    """Redis lost everything, was asked for its state, and then was away for longer than leases live."""
    await house.starts(settling=Settling(frozenset("ab")))
    await house.has(100)
    house.clock.advance(ms=PACKAGE_LIFE_MS)
    assert (await house.a.gets(50, whole=True)).state == "settling"
    house.clock.advance(ms=SETTLE_MS - 1)
    assert (await house.a.gets(50)).retry_ms == 1
    await house.b.gets(0, held=80, whole=True)
    assert await house.a.gets(50) == Lent("ok", 10, 10)


async def test_what_one_used_who_is_waited_for_in_vain_is_drained_first(house: House) -> None:
    """Where the ledger is away meanwhile nothing is lent: what was used is missing in the balance."""
    await house.starts(settling=Settling(frozenset("b")))
    await house.has(100)
    await house.redis.hset("{p03}:live", "p:b", "3")
    for _ in range(3):
        house.clock.advance(ms=PACKAGE_LIFE_MS)
        assert (await house.a.gets(50, whole=True)).state == "settling"
    await house.redis.hset("{p03}:live", "k:b", "3")
    assert (await house.a.gets(50)).state == "ok"


async def test_a_reset_keeps_leases_and_forgets_balances(house: House) -> None:
    """Leases that are too old only brake; a balance that is too old lends what is not there."""
    await house.has(100)
    await house.a.gets(60)
    await house.starts("e2")
    assert (await house.b.gets(10)).state == "unknown"
    await house.has(100)
    assert (await house.b.gets(100, least=41)).granted == 0


async def dump(redis: Redis) -> dict[Any, Any]:
    return {key: await redis.dump(key) for key in await redis.keys()}


async def restore(redis: Redis, state: dict[Any, Any]) -> None:
    await redis.flushall()
    for key, value in state.items():
        await redis.restore(key, 0, value)


async def test_a_redis_that_went_back_lends_nothing_before_everybody_has_spoken(
    house: House,
) -> None:
    """Who was told something that it does not know notices, at its first message."""
    await house.has(100)
    await house.a.gets(20)
    before = await dump(house.redis)
    await Lane(Bank(house.redis, house.clock.now_ms), "b").gets(40)
    await house.a.gets(20, held=20)
    await restore(house.redis, before)
    assert (await house.a.gets(50, held=40)).state == "settling"
    house.clock.advance(ms=SETTLE_MS)
    await house.b.gets(50, held=40, whole=True)
    assert (await house.a.gets(50, held=40)).state == "settling"
    assert await house.a.gets(50, held=40, whole=True) == Lent("ok", 10, 10)


async def test_a_redis_that_forgot_a_checkpoint_went_back(house: House) -> None:
    """The lane reckons with a drain of which the balance there knows nothing."""
    await house.has(100)
    assert (await house.a.gets(50, checkpoint=7)).state == "settling"
    await house.redis.hset("{p03}:live", "k:a", "7")
    house.clock.advance(ms=SETTLE_MS)
    assert (await house.a.gets(50, checkpoint=7, whole=True)).state == "ok"


async def test_lanes_of_long_ago_are_forgotten(house: House) -> None:
    """Each process life is a lane; who may hold something is a short list."""
    await house.has(100)
    await house.a.gets(10)
    house.clock.advance(ms=PACKAGE_LIFE_MS)
    for _ in range(300):
        await house.b.gets(1)
    assert set(await house.redis.hkeys(lending_key(P))) == {b"n", b"h:b"}


# --- slots ----------------------------------------------------------------------------------


async def test_slots_are_lent_up_to_their_number(house: House) -> None:
    """And come back with the lease of whoever died."""
    assert (await house.a.opens(6)).granted == 6
    assert (await house.b.opens(6)).granted == 2
    assert await house.c.opens(3) == Lent("ok", 1, 1, life_ms=SLOT_LIFE_MS)
    assert (await house.b.opens(0, held=2)).left == 1
    house.clock.advance(ms=SLOT_LIFE_MS)
    assert (await house.b.opens(0, held=2)).left == 1
    house.clock.advance(ms=SETTLE_MS)
    await house.b.opens(0, held=2)
    assert (await house.b.opens(8, held=2)).granted == 8


async def test_slots_need_no_ledger(house: House) -> None:
    """Nor an epoch: they are lent while packages are not."""
    await house.redis.flushall()
    assert (await house.a.opens(6)).granted == 6


async def test_fewer_slots_than_are_open(house: House) -> None:
    """The limit was lowered: nothing new until enough have ended."""
    assert await house.a.opens(1, held=8, most=5) == Lent("ok", 0, -3, life_ms=SLOT_LIFE_MS)


# --- rates ----------------------------------------------------------------------------------


async def spend(house: House, want: int, owed: int = 0, *, burst: int = 10) -> Lent:
    (lent,) = await house.a.says(RateAsk("rps", 5, 1000, burst, owed, want))
    return lent


async def test_a_rate_is_a_burst_and_then_so_many_in_a_period(house: House) -> None:
    """As GCRA has it: 5 a second, 10 at once."""
    assert await spend(house, 8) == Lent("ok", 8, 2, life_ms=0)
    assert (await spend(house, 8)).granted == 2
    assert (await spend(house, 1)).retry_ms == 200
    house.clock.advance(ms=199)
    assert await spend(house, 1) == Lent("ok", 0, 0, retry_ms=1, life_ms=0)
    house.clock.advance(ms=1)
    assert (await spend(house, 8)).granted == 1
    house.clock.advance(seconds=60)
    assert (await spend(house, 100)).granted == 10


async def test_what_was_used_beyond_is_owed(house: House) -> None:
    """And what was not used is given back, though never more than was spent."""
    assert await spend(house, 0, owed=15) == Lent("ok", 0, -5, life_ms=0)
    assert (await spend(house, 1)).retry_ms == 1200
    assert (await spend(house, 1, owed=-10)).granted == 1
    assert (await spend(house, 20, owed=-99)).granted == 10


async def test_a_clock_that_steps_back_stops_nobody(house: House) -> None:
    """Not even for as long as it stepped."""
    await spend(house, 10)
    house.clock.advance(seconds=-3600)
    assert (await spend(house, 1)).granted == 0
    house.clock.advance(ms=200)
    assert (await spend(house, 1)).granted == 1


async def test_an_unused_rate_leaves_nothing_behind(house: House) -> None:
    """Its key goes when all of it is earned."""
    await spend(house, 10)
    assert 0 < await house.redis.pttl(rate_key(P, "rps")) <= 2001
    await spend(house, 0, owed=-10)
    assert not await house.redis.exists(rate_key(P, "rps"))


# --- the server -----------------------------------------------------------------------------


async def test_by_the_servers_own_time(house: House) -> None:
    """Everything at once, without a clock of ours."""
    await house.has(100)
    lane = Lane(Bank(house.redis), "z")
    asks = (
        PackageAsk(ACCOUNT, 0, 10, 1),
        SlotsAsk("key", 0, 1, 2),
        RateAsk("r", 1, 60000, 1, 0, 9),
    )
    first = await lane.says(*asks)
    assert [each.granted for each in first] == [10, 1, 1]
    assert [each.state for each in await lane.says(*asks, turn=1)] == ["late", "late", "ok"]


async def test_on_a_cluster(redis_cluster: TestCluster) -> None:
    """All keys of a partition are on one node."""
    store = connect(redis_cluster.url)
    try:
        await Counters(store).reset(P, epoch="e", last="d", checkpoints={})
        bank = Bank(store)
        assert await bank.tell(P, "e", [Balance(ACCOUNT, 1, 0, (Part("p", 9, 9, 0),))])
        asks = (PackageAsk(ACCOUNT, 0, 5, 1), SlotsAsk("s", 0, 1, 2), RateAsk("r", 1, 1, 1, 0, 1))
        lent = await bank.ask(P, "a", "e", 1, asks, whole=True)
        assert [each.granted for each in lent] == [5, 1, 1]
        assert len(await bank.balances(P, [ACCOUNT])) == 1
        assert await bank.leased(P, [ACCOUNT, "s"]) == [5, 1]
    finally:
        await store.aclose()


async def test_a_server_that_is_away(tmp_path: object) -> None:
    """Everything raises MeteringError."""
    store = connect(f"unix://{tmp_path}/nothing.sock")
    bank = Bank(store)
    with pytest.raises(MeteringError):
        await Lane(bank, "a").gets(1)
    with pytest.raises(MeteringError):
        await bank.tell(0, "e", [Balance(ACCOUNT, 1, 0, ())])
    with pytest.raises(MeteringError):
        await bank.balances(0, [ACCOUNT])
    await store.aclose()
