"""What a worker says to the bank, with the real bank and its script on a real Valkey."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from redis.asyncio import Redis

from gateway.brakes import Brake, Brakes
from gateway.desk import WAIT_S, Desk
from gateway.errors import GatewayError
from gateway.holds import Hold
from gateway.lending import TURN_S, Lending
from gateway.purse import PackagePurse, RatePurse, SlotsPurse
from metering.bank import Bank
from metering.connection import Store, text_of
from metering.counters import Counters
from metering.errors import MeteringUnavailable
from metering.lending import (
    NOBODY,
    PACKAGE_LIFE_MS,
    RENEW_PART,
    SETTLE_MS,
    Balance,
    Lent,
    PackageAsk,
    Part,
    Settling,
    account_of,
)
from metering.partitions import lending_key
from tests.fakes import FakeClock

pytestmark = pytest.mark.anyio

ACCOUNT = account_of("cust-1", "T")
P = 3


@dataclass
class Known:
    """What the lane knows of partitions: what the test says."""

    epochs: dict[int, str] = field(default_factory=dict)
    emptied: bool = False

    def epoch(self, partition: int) -> str:
        return "" if self.emptied else self.epochs.get(partition, "")

    def checkpoint(self, partition: int) -> int:
        return 0

    async def learn(self, partition: int) -> None:
        pass


class Watched(Bank):
    """The bank, and in which partitions it was asked."""

    def __init__(self, store: Store, clock: FakeClock) -> None:
        super().__init__(store, clock.now_ms)
        self.partitions: list[int] = []
        self.away = False

    async def balances(self, partition: int, accounts: Sequence[str]) -> list[Balance]:
        if self.away:
            raise MeteringUnavailable("away")
        return await super().balances(partition, accounts)

    async def ask(self, partition: int, *message: Any, **more: Any) -> list[Lent]:
        if self.away:
            raise MeteringUnavailable("away")
        self.partitions.append(partition)
        return await super().ask(partition, *message, **more)


class House:
    """A partition, and the worker `lane-1`, whose customers have called nothing yet."""

    def __init__(self, redis: Redis, clock: FakeClock | None = None, lane: str = "lane-1") -> None:
        self.redis, self.clock, self.known = redis, clock or FakeClock(), Known()
        self.bank = Watched(redis, self.clock)
        self.desk = Desk(self.clock.now_ms, self.now_s, go_on_alone=True)
        self.lending = Lending(self.bank, self.desk, lane, self.known, self.now_s)

    waiting: Hold  # of the call that waited last

    def now_s(self) -> float:
        return self.clock.now_ms() / 1000

    async def starts(self, epoch: str, *lanes: str, partition: int = P) -> None:
        """The partition begins again, and waits for the lanes."""
        settling = Settling(frozenset(lanes), now=self.clock.now_ms()) if lanes else NOBODY
        await Counters(self.redis).reset(
            partition, epoch=epoch, last="d", checkpoints={}, settling=settling
        )
        balance = Balance(ACCOUNT, 1, 0, (Part("p", 100, 100, 0),))
        assert await self.bank.tell(partition, epoch, [balance])

    async def waited_for(self, partition: int = P) -> set[str]:
        fields = map(text_of, await self.redis.hkeys(lending_key(partition)))
        return {field[2:] for field in fields if field.startswith("w:")}


@pytest.fixture
async def house(redis: Redis) -> House:
    return House(redis)


async def test_a_worker_that_holds_nothing_says_so_in_every_new_epoch(house: House) -> None:
    """Others are lent something as soon as all have spoken, not when a lease's life is over."""
    await house.starts("e1")
    house.known.epochs[P] = "e1"
    await house.lending.turn()
    await house.starts("e2", "lane-1", "other")
    house.known.epochs[P] = "e2"
    await house.lending.turn()
    assert await house.waited_for() == {"other"}
    house.clock.advance(ms=SETTLE_MS)
    (lent,) = await house.bank.ask(P, "other", "e2", 1, [PackageAsk(ACCOUNT, 0, 10, 1)], whole=True)
    assert (lent.state, lent.granted) == ("ok", 10)


async def test_a_worker_presents_itself_where_it_never_was(house: House) -> None:
    """It was heard before it knew of the partition."""
    await house.starts("e2", "lane-1")
    house.known.epochs[P] = "e2"
    await house.lending.turn()
    assert await house.waited_for() == set()


async def test_each_epoch_is_presented_once(house: House) -> None:
    """Turns without news cost no call."""
    for partition in range(4):
        await house.starts("e1", "lane-1", partition=partition)
        house.known.epochs[partition] = "e1"
    for _ in range(3):
        await house.lending.turn()
    assert sorted(house.bank.partitions) == [0, 1, 2, 3]


async def test_what_did_not_arrive_is_presented_again(house: House) -> None:
    """And nothing is said to a partition while nobody knows its epoch."""
    await house.starts("e1", "lane-1")
    house.known = house.lending._places = Known({P: "e1"}, emptied=True)
    await house.lending.turn()
    assert house.bank.partitions == []
    house.known.emptied, house.bank.away = False, True
    await house.lending.turn()
    assert await house.waited_for() == {"lane-1"}
    house.bank.away = False
    house.clock.advance(seconds=10)  # the breaker's pause
    await house.lending.turn()
    assert await house.waited_for() == set()


async def test_who_held_something_of_late_says_that_it_is_gone(house: House) -> None:
    """A Redis that was set back waits for him, and he is not asked: he holds nothing now."""
    await house.starts("e1")
    house.known.epochs[P] = "e1"
    purse = PackagePurse(ACCOUNT, P)
    house.desk.active[purse] = None
    purse.active, purse.spare = True, 10
    purse.used_s, purse.valid_until_s = house.now_s(), house.now_s() + 30
    await house.lending.turn()
    assert await house.bank.leased(P, [ACCOUNT]) == [10]
    house.clock.advance(seconds=3)
    await house.lending.turn()  # it was idle
    assert await house.bank.leased(P, [ACCOUNT]) == [0]
    assert not house.desk.active
    await house.redis.hset(lending_key(P), "w:lane-1", "1")  # as lend.lua does then
    house.clock.advance(ms=PACKAGE_LIFE_MS // RENEW_PART + 1)
    await house.lending.turn()
    assert await house.waited_for() == set()
    said = len(house.bank.partitions)
    house.clock.advance(ms=PACKAGE_LIFE_MS)
    await house.lending.turn()
    assert len(house.bank.partitions) == said


async def test_a_rate_counted_alone_is_everybodys_again_when_the_bank_is_back(house: House) -> None:
    """Also where nobody called for a while in the outage, so that it had left the list."""
    purse = RatePurse("rate", P, 10, 1000, 10)
    brakes = Brakes((Brake(purse, "requests", "customer"),))
    house.bank.away = house.desk.away = True
    assert call(house, brakes)
    alone = purse.local
    for _ in range(4):
        house.clock.advance(seconds=3)
        await house.lending.turn()
    house.bank.away = False
    for _ in range(10):
        house.clock.advance(seconds=1)
        await house.lending.turn()
    assert not house.desk.away
    assert not call(house, brakes)
    await house.lending.turn()
    assert house.waiting.lacks < 0
    assert (alone, purse.local) == (True, False)
    assert P in house.bank.partitions


async def test_all_that_a_call_lacks_is_asked_for_at_once(house: House) -> None:
    """One after the other would take longer than it may wait."""
    await house.starts("e1")
    house.known.epochs[P] = "e1"
    brakes = Brakes(
        (
            Brake(SlotsPurse("customer", P, 5), "concurrent", "customer"),
            Brake(RatePurse("rate", P, 10, 1000, 10), "requests", "customer"),
            Brake(SlotsPurse("key", P, 5), "concurrent", "key"),
            Brake(RatePurse("route", P + 1, 10, 1000, 10), "requests", "route"),
            Brake(PackagePurse(ACCOUNT, P, "requests"), "package", "package", "requests"),
        )
    )
    assert not call(house, brakes)
    await house.lending.turn()
    assert house.waiting.lacks < 0


@pytest.mark.parametrize("calls", [1, 30], ids=["seldom", "often"])
async def test_a_slot_that_nobody_uses_is_there_for_others(house: House, calls: int) -> None:
    """Where one worker had it, another one's call gets it within its wait."""
    other = House(house.redis, house.clock, "lane-2")
    mine = brakes_of(SlotsPurse("slots", P, 1))
    for _ in range(calls):
        let_in = call(house, mine)
        if not let_in:
            await house.lending.turn()
            house.desk.give_back(house.waiting)
        house.clock.advance(ms=10)
    theirs = SlotsPurse("slots", P, 1)
    assert not call(other, brakes_of(theirs))
    for _ in range(int(WAIT_S / TURN_S) - 1):
        await other.lending.turn()
        await house.lending.turn()
        house.clock.advance(ms=int(TURN_S * 1000))
    assert theirs.calls == 1


def brakes_of(purse: SlotsPurse) -> Brakes:
    return Brakes((Brake(purse, "concurrent", "customer"),))


class Caller:
    def let_in(self, refusal: GatewayError | None) -> None:
        assert refusal is None


def call(house: House, brakes: Brakes) -> bool:
    """Whether a call is let in at once; if not it waits."""
    hold = Hold(brakes, b"", 0)
    assert house.desk.take(hold) is None
    if hold.lacks >= 0:
        house.desk.wait(Caller(), hold)
        house.waiting = hold
        return False
    house.desk.give_back(hold)
    return True
