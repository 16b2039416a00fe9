"""What the lending bank is told of packages, when, and whoever dies in between."""

from collections.abc import Sequence
from typing import Any

import pytest
from redis.asyncio import Redis
from sqlalchemy import Engine

from billing_sync.balance_models import BalanceVersion
from billing_sync.drain import Drainer
from billing_sync.hearing import Heard
from billing_sync.lifecycle import Activity, Event, LifecycleEvent
from billing_sync.models import Instance
from billing_sync.store import ledger, lifecycle, package_totals, projections
from billing_sync.store.engine import reading, writing
from billing_sync.telling import News, Teller, differing
from metering.bank import Bank
from metering.catalogue import Catalogue, catalogue
from metering.counters import Counters
from metering.errors import MeteringUnavailable
from metering.heartbeats import Heartbeat
from metering.lending import (
    EVERYBODY,
    PACKAGE_LIFE_MS,
    Balance,
    PackageAsk,
    Part,
    account_of,
    customer_of,
)
from metering.partitions import quota_key
from tests.billing_sync.books import CATALOGUE, METER, START, Books, package
from tests.billing_sync.dying import Stopping
from tests.billing_sync.lanes import KeepingLane
from tests.billing_sync.test_deduction import stopping
from tests.fakes import FakeClock

pytestmark = pytest.mark.anyio

ACCOUNT = account_of("cust-1", "TOKENS")
PRODUCTS = catalogue([*CATALOGUE.values(), stopping("NEXT", "next_package")])


class DeadBank(Bank):
    """The control plane dies when it wants to tell."""

    async def tell(self, partition: int, epoch: str, balances: Sequence[Balance]) -> bool:
        raise MeteringUnavailable("killed")


class Plane:
    """A control plane: it drains, and tells."""

    def __init__(
        self,
        books: Books,
        redis: Redis,
        *,
        bank: Bank | None = None,
        counters: Counters | None = None,
        products: Catalogue | None = None,
    ) -> None:
        self.bank = bank or Bank(redis)
        known = products or books.catalogue
        self.teller = Teller(books.engine, self.bank, known, 1, books.clock)
        self.drainer = Drainer(
            books.engine, counters or Counters(redis), known, books.clock, books.ids, self.teller
        )

    async def drain(self) -> None:
        await self.drainer.drain_all(1)

    async def knows(self, account: str = ACCOUNT) -> Balance | None:
        found = await self.bank.balances(0, [account])
        return found[0] if found else None

    async def left(self) -> dict[str, int]:
        balance = await self.knows()
        return {part.package_id: part.left for part in balance.parts} if balance else {}


@pytest.fixture
def database_kind() -> str:
    """The SQL is tried on both kinds in store/test_balance_versions.py."""
    return "sqlite"


@pytest.fixture
def books(engine: Engine) -> Books:
    made = Books(engine, PRODUCTS)
    made.buy("i")
    return made


@pytest.fixture
async def plane(books: Books, redis: Redis) -> Plane:
    """With its one partition set up."""
    made = Plane(books, redis)
    await made.drain()
    return made


@pytest.fixture
def lane(redis: Redis) -> KeepingLane:
    return KeepingLane(redis)


def callback(books: Books, instance_id: str, what: Event, **more: Any) -> None:
    """The marketplace's callback, committed now."""
    activity = {Event.REFRESH: Activity.REFRESH, Event.RELEASE: Activity.RELEASE}
    books.clock.advance(ms=1)
    now_ms = books.clock.now_ms()
    told = LifecycleEvent(
        activity.get(what, Activity.STATUS), what, instance_id, sent_at=now_ms, body="", **more
    )
    with writing(books.engine) as session:
        assert lifecycle.apply(session, told, now_ms) is not None


async def use(lane: KeepingLane, quantity: int) -> None:
    lane.record(0, quantity, instance_id="i", meter=METER)
    assert await lane.flush()


async def checkpoint(redis: Redis) -> int:
    return int(await redis.hget("{p00}:live", "k:lane") or 0)


# --- what is told ---------------------------------------------------------------------------


async def test_a_package_that_stops_is_told(books: Books, plane: Plane) -> None:
    """With its quota, in the meter's unit; ordinary ones are nobody's business."""
    books.buy("stop", "STOP", expires=START + 9_000_000)
    books.buy("pack", "PACK", customer_id="cust-2")
    await plane.teller.run()
    now_ms = books.clock.now_ms()
    assert await plane.knows() == Balance(
        ACCOUNT, 1, now_ms, (Part("stop", 10_000, 10_000, START + 9_000_000),)
    )
    assert set(await plane.bank.all_balances(0)) == {ACCOUNT}
    assert (plane.teller.told, plane.teller.differed) == (2, 0)


async def test_a_drain_is_told_with_what_it_took(
    books: Books, plane: Plane, lane: KeepingLane, redis: Redis
) -> None:
    """In the order in which packages give; before the lane learns that it holds it no more."""
    books.buy("stop", "STOP", expires=START + 9_000_000)
    books.buy("more", "STOP-2")
    books.buy("pack", "PACK", expires=START + 8_000_000)
    await plane.teller.run()
    await use(lane, 12_500)
    await plane.drain()
    assert await plane.left() == {"pack": 0, "stop": 7_500, "more": 10_000}
    assert await checkpoint(redis) == 1
    await use(lane, 20_000)
    await plane.drain()
    assert await plane.left() == {"pack": 0, "stop": 0, "more": 0}


async def test_freezes_and_releases_are_told(books: Books, plane: Plane) -> None:
    """A frozen package lends nothing; once the last is released none stops anybody."""
    books.buy("stop", "STOP")
    books.buy("pack", "PACK", expires=START + 9_000_000)
    for what, left in (
        (Event.FREEZE, {"stop": 0, "pack": 10_000}),
        (Event.UNFREEZE, {"stop": 10_000, "pack": 10_000}),
        (Event.RELEASE, {}),
    ):
        callback(books, "stop", what)
        await plane.teller.run()
        assert await plane.left() == left
    assert await plane.knows() is not None


async def test_a_renewal_is_told(books: Books, plane: Plane) -> None:
    """The bank itself knows when a package is over."""
    books.buy("stop", "STOP", expires=START + 1)
    await plane.teller.run()
    callback(books, "stop", Event.REFRESH, expires=START + 9_000_000, scene="RENEWAL")
    await plane.teller.run()
    balance = await plane.knows()
    assert balance is not None
    assert balance.parts == (Part("stop", 10_000, 10_000, START + 9_000_000),)


async def test_what_waits_for_a_package_is_not_lent_of_it(
    books: Books, plane: Plane, lane: KeepingLane
) -> None:
    """The next drain gives it to the package that was bought since."""
    books.buy("first", "NEXT")
    await use(lane, 13_000)
    await plane.drain()
    books.buy("second", "NEXT")
    with writing(books.engine) as session:
        projections.enqueue(session, "cust-1", books.clock.now_ms())
    await plane.teller.run()
    assert await plane.left() == {"first": 0, "second": 7_000}
    await use(lane, 1_000)
    await plane.drain()
    assert await plane.left() == {"first": 0, "second": 6_000}


async def test_what_a_recovery_takes_back_is_told(
    books: Books, plane: Plane, lane: KeepingLane
) -> None:
    """Whoever changes what a package gave makes a newer version."""
    books.buy("stop", "STOP")
    await use(lane, 4_000)
    await plane.drain()
    with writing(books.engine) as session:
        package_totals.undo_unrecorded(session, ["i"])
    await plane.teller.run()
    assert await plane.left() == {"stop": 10_000}


async def test_customers_without_packages_cost_nothing(
    books: Books, plane: Plane, lane: KeepingLane
) -> None:
    """No row, no word."""
    with writing(books.engine) as session:
        projections.enqueue(session, "cust-1", books.clock.now_ms())
    await use(lane, 4_000)
    await plane.drain()
    await plane.teller.run()
    assert books.all(BalanceVersion) == []
    assert plane.teller.told == 0


async def test_an_account_of_many_packages(books: Books, plane: Plane) -> None:
    """Those that still give something are told; the list is bounded."""
    for number in range(130):
        books.buy(f"old-{number:03}", "STOP", started=START + number)
    books.use("i", 1_250_000)
    await plane.teller.run()
    left = await plane.left()
    assert len(left) == 100
    assert sum(left.values()) == 50_000


# --- who dies in between --------------------------------------------------------------------


async def test_killed_between_the_commit_and_the_telling(
    books: Books, plane: Plane, lane: KeepingLane, redis: Redis
) -> None:
    """The lane holds what it used until somebody else has told it."""
    books.buy("stop", "STOP")
    await plane.teller.run()
    await use(lane, 4_000)
    dying = Plane(books, redis, bank=DeadBank(redis))
    await dying.drain()
    assert isinstance(dying.drainer.failure, MeteringUnavailable)
    assert books.given() == {("stop", "i"): 4_000}
    assert await plane.left() == {"stop": 10_000}
    assert await checkpoint(redis) == 0
    await Plane(books, redis).drain()
    assert await plane.left() == {"stop": 6_000}
    assert await checkpoint(redis) == 1


async def test_killed_between_the_telling_and_the_drop(
    books: Books, plane: Plane, lane: KeepingLane, redis: Redis
) -> None:
    """For a while it is both used and held: too little is lent, never too much."""
    books.buy("stop", "STOP")
    await plane.teller.run()
    await use(lane, 4_000)
    await Plane(books, redis, counters=Stopping(redis, "drop_drain")).drain()
    assert await plane.left() == {"stop": 6_000}
    assert await checkpoint(redis) == 0
    await Plane(books, redis).drain()
    assert await plane.left() == {"stop": 6_000}
    assert await checkpoint(redis) == 1


async def test_killed_between_a_callback_and_the_telling(books: Books, redis: Redis) -> None:
    """It is due until somebody has told it, whoever it is."""
    books.buy("stop", "STOP")
    plane = Plane(books, redis)
    await plane.drain()
    await plane.teller.run()
    callback(books, "stop", Event.FREEZE)
    with pytest.raises(MeteringUnavailable):
        await Plane(books, redis, bank=DeadBank(redis)).teller.run()
    assert await plane.left() == {"stop": 10_000}
    await Plane(books, redis).teller.run()
    assert await plane.left() == {"stop": 0}


async def test_killed_between_a_reset_and_the_telling(
    books: Books, plane: Plane, lane: KeepingLane, redis: Redis
) -> None:
    """In the new epoch the bank knows nothing, so all of it is due again."""
    books.buy("stop", "STOP")
    await plane.teller.run()
    await use(lane, 4_000)
    await plane.drain()
    await redis.flushall()
    dying = Plane(books, redis, bank=DeadBank(redis))
    await dying.drain()
    assert dying.drainer.resets == 1
    assert await plane.knows() is None
    await Plane(books, redis).teller.run()
    assert await plane.left() == {"stop": 6_000}


# --- several control planes -----------------------------------------------------------------


async def late(books: Books, plane: Plane, lane: KeepingLane) -> News:
    """What somebody read of a renewed package and was slow to tell: it was used and drained since."""
    books.buy("stop", "STOP")
    await plane.teller.run()
    callback(books, "stop", Event.REFRESH, expires=START + 9_000_000, scene="RENEWAL")
    with reading(books.engine) as session:
        news = plane.teller.due_in(session, 0)
    assert news is not None
    await use(lane, 4_000)
    await plane.drain()
    return news


async def test_an_older_snapshot_that_comes_late_changes_nothing(
    books: Books, plane: Plane, lane: KeepingLane, redis: Redis
) -> None:
    """Whoever was slow to tell it."""
    news = await late(books, plane, lane)
    assert await Plane(books, redis).teller.tell(news)
    assert await plane.left() == {"stop": 6_000}


async def test_an_older_snapshot_from_before_a_reset_is_not_taken(
    books: Books, plane: Plane, lane: KeepingLane, redis: Redis
) -> None:
    """There is nothing to compare it with, but it is of another epoch."""
    news = await late(books, plane, lane)
    await redis.flushall()
    await Plane(books, redis, bank=DeadBank(redis)).drain()
    assert not await Plane(books, redis).teller.tell(news)
    assert await plane.knows() is None


async def test_who_finds_another_epoch_leaves_the_rest_to_the_next_run(
    books: Books, plane: Plane, redis: Redis
) -> None:
    """The reset that made it tells everything; a drain is not dropped before."""
    books.buy("stop", "STOP")
    await redis.hset("{p00}:live", "epoch", "another")
    await plane.teller.run()
    assert plane.teller.told == 0
    assert await plane.knows() is None


# --- what the bank forgot -------------------------------------------------------------------


async def test_what_the_bank_forgot_is_told_again(books: Books, plane: Plane, redis: Redis) -> None:
    """Partition by partition, compared with SQL."""
    books.buy("stop", "STOP")
    await plane.teller.run()
    before: dict[Any, Any] = dict(await redis.hgetall(quota_key(0)))
    callback(books, "stop", Event.FREEZE)
    await plane.teller.run()
    await redis.delete(quota_key(0))
    await plane.teller.run()
    assert await plane.left() == {"stop": 0}
    await redis.hset(quota_key(0), mapping=before)
    await plane.teller.run()
    assert await plane.left() == {"stop": 0}
    assert plane.teller.differed == 2


async def test_a_changed_configuration_is_told(books: Books, plane: Plane, redis: Redis) -> None:
    """The ledger did not change, but what its packages hold did."""
    books.buy("stop", "STOP")
    await plane.teller.run()
    changed = catalogue([*CATALOGUE.values(), package("STOP", 7, stop=True)])
    await Plane(books, redis, products=changed).teller.run()
    balance = await plane.knows()
    assert balance is not None
    assert (balance.version, balance.parts) == (2, (Part("stop", 7_000, 7_000, 0),))


async def test_a_ledger_that_was_set_back_is_believed(
    books: Books, plane: Plane, redis: Redis
) -> None:
    """Versions the bank has seen are no measure for it."""
    books.buy("stop", "STOP")
    await plane.teller.run()
    ((field, _),) = (await redis.hgetall(quota_key(0))).items()
    await redis.hset(quota_key(0), field, '[900,0,[["stop",10000,3,0]]]')
    await plane.teller.run()
    balance = await plane.knows()
    assert balance is not None
    assert balance.version == 901
    assert await plane.left() == {"stop": 10_000}


async def test_an_account_that_is_no_more_lends_nothing(books: Books, plane: Plane) -> None:
    """Its packages are not sold any more, or were never."""
    ghost = Balance("ghost", 5, 0, (Part("p", 9, 9, 0),))
    with reading(books.engine) as session:
        epoch = ledger.place(session, 0).epoch
    await plane.bank.tell(0, epoch, [ghost])
    await plane.teller.run()
    assert await plane.knows("ghost") == ghost._replace(version=6, parts=())
    await plane.teller.run()
    assert await plane.knows("ghost") == ghost._replace(version=6, parts=())


def test_what_differs() -> None:
    """Older is stale, newer or other than it can be is wrong, the time of it is no difference."""
    mine = Balance("a", 5, 1, (Part("p", 9, 9, 0),))
    for there, stale, wrong in (
        ({}, [mine], {}),
        ({"a": mine._replace(as_of=99)}, [], {}),
        ({"a": mine._replace(version=4, parts=())}, [mine], {}),
        ({"a": mine._replace(version=6)}, [], {"a": 6}),
        ({"a": mine._replace(parts=())}, [], {"a": 5}),
    ):
        assert differing(there, [mine]) == (stale, wrong)
    assert differing({"a": mine._replace(parts=())}, []) == ([], {})


@pytest.mark.parametrize("customer", ["c", "", "a b", "x\x1fy"])
def test_an_account_names_its_customer(customer: str) -> None:
    """Whatever ids customers have."""
    assert customer_of(account_of(customer, "TOKENS")) == customer


# --- after a loss ---------------------------------------------------------------------------


async def test_a_new_ledger_lends_at_once(books: Books, plane: Plane) -> None:
    """Nobody can hold anything of it."""
    books.buy("stop", "STOP")
    await plane.teller.run()
    with reading(books.engine) as session:
        epoch = ledger.place(session, 0).epoch
    (lent,) = await plane.bank.ask(0, "a", epoch, 1, [PackageAsk(ACCOUNT, 0, 10, 1)])
    assert lent.state == "ok"


async def test_a_redis_that_lost_everything_lends_nothing_at_first(
    books: Books, plane: Plane, redis: Redis
) -> None:
    """Until the lanes that were heard have said what they hold; or all, where nobody was listening."""
    books.buy("stop", "STOP")
    await plane.teller.run()
    for named, waited in ((False, b"w:*"), (True, b"w:lane")):
        if named:
            for at in (0, PACKAGE_LIFE_MS):
                plane.drainer.heard.note({"lane": Heartbeat(at, at)}, START + at)
        await redis.flushall()
        await plane.drain()
        with reading(books.engine) as session:
            epoch = ledger.place(session, 0).epoch
        (lent,) = await plane.bank.ask(0, "a", epoch, 1, [PackageAsk(ACCOUNT, 0, 10, 1)])
        assert lent.state == "settling"
        assert lent.left == 10_000
        assert waited in await redis.hkeys("{p00}:lending")


def test_who_was_heard() -> None:
    """For as long as a lease lives, by the time at which heartbeats could be read."""
    heard, clock = Heard(), FakeClock()
    assert heard.settling() == EVERYBODY

    def listen(**beats: int) -> None:
        heard.note({lane: Heartbeat(at, at) for lane, at in beats.items()}, clock.now_ms())

    listen(a=1, b=1)
    clock.advance(ms=PACKAGE_LIFE_MS - 1)
    listen(a=2, b=1, c=1)
    assert heard.settling() == EVERYBODY
    clock.advance(ms=1)
    listen(b=1, c=1)
    assert heard.settling().lanes == {"a", "b", "c"}
    clock.advance(ms=10)
    listen(b=1, c=2)
    assert heard.settling().lanes == {"a", "c"}
    clock.advance(seconds=3600)  # Redis was away
    assert heard.settling().lanes == {"a", "c"}
    listen(c=3)
    assert heard.settling().lanes == {"c"}
    clock.advance(seconds=-7200)
    listen(c=4)
    assert heard.settling() == EVERYBODY


def test_a_package_of_nobody_is_passed_over(books: Books) -> None:
    """An instance whose buyer is not known yet is not sold to anybody."""
    with writing(books.engine) as session:
        session.add(Instance(id="x", product_id="STOP", is_package=True, started=START))
    teller = Teller(books.engine, None, PRODUCTS, 1, books.clock)  # type: ignore[arg-type]
    teller._begin()
    assert books.all(BalanceVersion) == []
