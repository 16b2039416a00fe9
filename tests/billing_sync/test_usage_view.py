"""Usage as it stands now, on a real Valkey and real SQL: each use once, whatever is on its way."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path

import pytest
from redis.asyncio import Redis
from sqlalchemy import Engine

from billing_sync.drain import Drainer
from billing_sync.errors import BadQuestion
from billing_sync.figures import UsageFigure
from billing_sync.models import UsageWindow
from billing_sync.questions import MOST_CELLS, UsageFilter
from billing_sync.store import usage as store
from billing_sync.store.engine import reading, writing
from billing_sync.usage_view import UsageView
from metering.connection import Store, connect_one
from metering.counters import Counters
from metering.partitions import live_key
from metering.protocol import Content
from tests.billing_sync.books import CATALOGUE, HOUR, METER, START, Books
from tests.billing_sync.lanes import Lane

pytestmark = pytest.mark.anyio


@pytest.fixture
def books(engine: Engine) -> Books:
    return Books(engine)


def view_of(books: Books, redis: Redis, **settings: float) -> UsageView:
    return UsageView(books.engine, Counters(redis), CATALOGUE, 1, books.clock, **settings)


def drainer_of(books: Books, redis: Store) -> Drainer:
    return Drainer(books.engine, Counters(redis), CATALOGUE, books.clock, books.ids)


@pytest.fixture
async def lane(books: Books, redis: Redis) -> Lane:
    """A gateway of a control plane that has set its partition up."""
    await drainer_of(books, redis).drain(0)
    return Lane(redis)


@pytest.fixture
async def view(books: Books, redis: Redis) -> UsageView:
    return view_of(books, redis)


async def total(view: UsageView) -> tuple[int, bool]:
    usage = await view.usage(UsageFilter())
    return sum(usage.cells.values()), usage.live


async def test_it_is_seen_at_once(view: UsageView, lane: Lane) -> None:
    """What was applied a moment ago is in the answer, before any drain."""
    await lane.count(0, 5)
    assert await total(view) == (5, True)


async def test_every_step_of_a_drain_counts_it_once(
    view: UsageView, books: Books, lane: Lane, redis: Redis
) -> None:
    """Live; set aside; committed but not deleted; deleted."""
    counters, drainer = Counters(redis), drainer_of(books, redis)
    await lane.count(0, 5)
    head = await counters.head(0)
    await counters.set_aside(0, epoch=head.epoch, last=head.last, new_id="d")
    await lane.count(0, 7)
    assert await total(view) == (12, True)
    _, aside = await counters.read(0)
    assert aside is not None
    assert drainer.commit(0, aside)
    assert await total(view) == (12, True)
    await drainer.drain(0)
    assert await total(view) == (12, True)


async def test_a_drain_in_between_is_read_again(books: Books, lane: Lane, redis: Redis) -> None:
    """Redis moved on before SQL was asked: the second look is at one instant again."""

    class Moving(Counters):
        looks = 0

        async def read(self, partition: int) -> tuple[Content | None, Content | None]:
            found = await super().read(partition)
            self.looks += 1
            if self.looks == 1:
                await drainer_of(books, redis).drain(0)
            return found

    counters = Moving(redis)
    await lane.count(0, 5)
    view = UsageView(books.engine, counters, CATALOGUE, 1, books.clock)
    assert await total(view) == (5, True)
    assert counters.looks == 2


@pytest.mark.parametrize("what", ["emptied", "another epoch", "unreadable"])
async def test_a_redis_that_does_not_fit_is_left_out(
    view: UsageView, books: Books, lane: Lane, redis: Redis, what: str
) -> None:
    """Then the ledger answers alone, and says so."""
    await lane.count(0, 5)
    await drainer_of(books, redis).drain(0)
    await lane.count(0, 7)
    if what == "emptied":
        await redis.flushall()
    elif what == "unreadable":
        await redis.hset(live_key(0), "d\x1fnonsense", 1)
    else:
        await redis.hset(live_key(0), "epoch", "other")
    assert await total(view) == (5, False)


async def test_a_redis_that_is_away(books: Books) -> None:
    """No exception, only what the ledger knows."""
    books.use("", 5)
    redis = connect_one("unix:///nowhere/valkey.sock")
    assert await total(view_of(books, redis)) == (5, False)
    await redis.aclose()


@asynccontextmanager
async def silent_redis(folder: Path) -> AsyncIterator[Redis]:
    """Takes connections and never answers."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_unix_server(talk, folder / "redis.sock")
    redis = connect_one(f"unix://{folder / 'redis.sock'}")
    async with server:
        yield redis
        await redis.aclose(close_connection_pool=True)


async def test_a_redis_that_does_not_answer(books: Books, tmp_path: Path) -> None:
    """All waiting together is bounded, also for many instances of many customers."""
    names = [books.buy(f"i{n}", customer_id=f"cust-{n}") for n in range(60)]
    books.use("i0", 5000, customer_id="cust-0")
    async with silent_redis(tmp_path) as redis:
        view = UsageView(
            books.engine, Counters(redis), CATALOGUE, 1, books.clock, redis_budget_s=0.2
        )
        async with asyncio.timeout(10):  # sixty times the budget would be longer
            assert await total(view) == (5000, False)
            figures = await view.for_instances(names)
    assert figures["i0"][0].value == 5


async def test_filters_apply_to_both_halves(
    view: UsageView, books: Books, lane: Lane, redis: Redis
) -> None:
    """The same question gives the same rows, whether usage is in Redis or in the ledger."""
    for key in (
        {},
        {"instance_id": "i"},
        {"instance_id": "i", "meter": "requests"},
        {"customer_id": "cust-2"},
        {"window": HOUR - 1, "route": "images"},
    ):
        await lane.count(0, 7, **key)
    questions = [
        UsageFilter(),
        UsageFilter(customer_id="cust-2"),
        UsageFilter(instance_id="i"),
        UsageFilter(meter="requests"),
        UsageFilter(from_window=HOUR),
        UsageFilter(to_window=HOUR),
        UsageFilter(from_window=HOUR, to_window=HOUR),
        UsageFilter(by=frozenset({"meter"})),
        UsageFilter(by=frozenset({"day", "customer"})),
        UsageFilter(instance_id="i", by=frozenset({"window", "meter"})),
    ]
    in_redis = [(await view.usage(question)).cells for question in questions]
    await drainer_of(books, redis).drain(0)
    assert [(await view.usage(question)).cells for question in questions] == in_redis
    assert [sum(cells.values()) for cells in in_redis] == [35, 7, 14, 7, 28, 7, 0, 21, 21, 14]


def test_the_ledger_is_asked_for_no_more_than_fits(books: Books) -> None:
    """One row above the limit is enough to know."""
    for number in range(5):
        books.use("", 1, route=f"r{number}", meter=f"m{number}")
    with reading(books.engine) as session:
        assert len(store.cells(session, UsageFilter(), 3)) == 3


async def test_too_long_an_answer_is_refused(view: UsageView, books: Books, lane: Lane) -> None:
    """With what to do about it; and the totals can still be had."""
    many = MOST_CELLS + 1
    columns = {"window": HOUR, "origin": HOUR, "instance_id": "", "route": "chat", "grade": "exact"}
    rows = [
        columns | {"customer_id": f"c{n}", "meter": METER, "mark": "", "partition": 0}
        for n in range(many)
    ]
    with writing(books.engine) as session:
        session.execute(
            UsageWindow.__table__.insert(),  # type: ignore[attr-defined]
            [row | {"quantity": 2, "recorded": 0} for row in rows],
        )
    with pytest.raises(BadQuestion, match="customer"):
        await view.usage(UsageFilter())
    found = await view.usage(UsageFilter(by=frozenset({"meter"})))
    assert list(found.cells.values()) == [2 * many]


# --- UsageInfo ------------------------------------------------------------------------------


async def figures(view: UsageView, *ids: str) -> dict[str, list[tuple[str | None, Decimal]]]:
    found = await view.for_instances(ids)
    return {i: [(f.related_instance_id, f.value) for f in figures] for i, figures in found.items()}


async def test_a_lifetime_is_everything_of_the_products_meter(
    view: UsageView, books: Books, lane: Lane
) -> None:
    """Over all windows, routes and grades, the ledger and Redis; rounded down."""
    books.buy("i")
    await drainer_of(books, lane.redis).drain(0)
    await lane.count(0, 1999, instance_id="i")
    await drainer_of(books, lane.redis).drain(0)
    await lane.count(0, 2000, instance_id="i", window=HOUR - 40)
    await lane.count(0, 77_000, instance_id="i", meter="requests")
    await lane.count(0, 77_000)
    (figure,) = (await view.for_instances(["i"]))["i"]
    assert figure == UsageFigure(None, Decimal("3.9990"), books.clock.now_ms())


async def test_figures_are_rounded_down(view: UsageView, books: Books, lane: Lane) -> None:
    """A third of a unit is never shown as more than it is."""
    third = {"TOKENS": CATALOGUE["TOKENS"].model_copy(update={"unit": 30_000})}
    books.buy("i")
    await lane.count(0, 20_000, instance_id="i")
    shown = UsageView(books.engine, view.counters, third, 1, books.clock)
    assert await figures(shown, "i") == {"i": [(None, Decimal("0.6666"))]}


async def test_a_lifetime_does_not_go_down(
    view: UsageView, books: Books, lane: Lane, redis: Redis
) -> None:
    """While Redis is away the last figure stands, with the time at which it was true."""
    books.buy("i")
    await lane.count(0, 5000, instance_id="i")
    (before,) = (await view.for_instances(["i"]))["i"]
    await redis.flushall()
    books.clock.advance(seconds=60)
    assert (await view.for_instances(["i"]))["i"] == [before]
    books.use("i", 6000)
    (after,) = (await view.for_instances(["i"]))["i"]
    assert (after.value, after.at_ms) == (Decimal(6), books.clock.now_ms())


async def test_before_its_first_use(view: UsageView, books: Books, lane: Lane) -> None:
    """Zero is a figure too: the marketplace wants one for every metered instance."""
    books.buy("i")
    books.buy("nobody-knows", "UNHEARD-OF")
    books.buy("pack", "PACK")
    assert await figures(view, "i", "nobody-knows", "pack", "stranger") == {
        "i": [(None, Decimal(0))],
        "nobody-knows": [(None, Decimal(0))],
        "pack": [("i", Decimal(0))],
    }


async def test_a_package_names_what_it_gave_to_whom(
    view: UsageView, books: Books, lane: Lane
) -> None:
    """An entry per pay-per-use instance of the buyer that it covers."""
    books.buy("i")
    books.buy("j")
    books.buy("calls", "CALLS")
    books.buy("his", customer_id="somebody-else")
    books.buy("pack", "PACK")
    books.use("i", 4567)
    books.use("j", 9000)
    books.use("calls", 3, meter="requests")
    assert await figures(view, "pack") == {
        "pack": [("i", Decimal("4.5670")), ("j", Decimal("5.4330"))]
    }


async def test_a_package_remembers_an_instance_that_is_gone(
    view: UsageView, books: Books, lane: Lane
) -> None:
    """What it gave stays; an instance it never gave to is forgotten with its release."""
    books.buy("used")
    books.buy("unused")
    books.buy("pack", "PACK")
    books.use("used", 1000)
    books.release("used", sent_at=START)
    books.release("unused", sent_at=START)
    assert await figures(view, "pack") == {"pack": [("used", Decimal(1))]}


async def test_a_package_nobody_sells_any_more(view: UsageView, books: Books, lane: Lane) -> None:
    """It shows what it gave, as long as the billing item is known."""
    books.buy("i")
    books.buy("pack", "PACK")
    books.use("i", 1000)
    books.change("pack", product_id="UNHEARD-OF")
    assert await figures(view, "pack") == {"pack": [("i", Decimal(1))]}
