"""What happens to records beside their push: held, released, expired, collected, watched."""

import logging
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlmodel import select

from billing_sync.act_models import RecordAct
from billing_sync.deadlines import EXPIRY_MS
from billing_sync.koogallery.outcomes import Kind, PushOutcome
from billing_sync.models import UsageRecord
from billing_sync.outbox import Outbox
from billing_sync.settings import BillingSettings
from billing_sync.store import outbox as store
from billing_sync.store import stops
from billing_sync.store.engine import reading, writing
from billing_sync.tending import Tender
from billing_sync.watching import Terms
from metering.catalogue import Price, Product, catalogue
from metering.windows import HOUR_MS
from tests.billing_sync.books import METER, MINUTE, SECOND, START, Books
from tests.billing_sync.pushing import Marketplace, outbox_of
from tests.billing_sync.test_outbox import fill, one, record, states
from tests.fakes import FakeClock, Ids

pytestmark = pytest.mark.anyio

NOW = START + HOUR_MS + 2 * MINUTE  # when the hour before is closed
TERMS = Terms(
    catalogue(
        [
            Product(product_id="p", meter=METER, price=Price(unit_price=Decimal("0.02"))),
            Product(product_id="d", meter=METER, cycle="day"),
        ]
    )
)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOW)


def tender(engine: Engine, clock: FakeClock, **hold: Any) -> Tender:
    billing = BillingSettings.model_validate({"hold": hold})
    return Tender(engine, clock, Ids("act"), TERMS, billing)


def history(engine: Engine, count: int = 3, value: str = "1.0000") -> None:
    """Records that the instance had before, collected and long gone."""
    with writing(engine) as session:
        for number in range(90_000, 90_000 + count):
            begin = START - (number - 89_999) * HOUR_MS
            columns = {"begin": begin, "end": begin + HOUR_MS, "value": value}
            session.add(record(f"r{number}", state="collected", sent_at=1, **columns))


def acts(engine: Engine) -> list[tuple[str, str, str]]:
    with reading(engine) as session:
        found = session.exec(select(RecordAct).order_by(RecordAct.id)).all()
        return [(act.metering_sn, act.act, act.author) for act in found]


async def test_held_before_it_can_be_claimed(
    engine: Engine, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """What is far above the usual waits, the rest goes; the reason stands beside it."""
    history(engine)
    with writing(engine) as session:
        session.add(record("r0", value="10.0000"))
        session.add(record("r1", value="10.0001"))
    market = Marketplace()
    outbox = outbox_of(engine, market, clock, tender=tender(engine, clock, times=10))
    assert await outbox.push_due() == 1
    assert market.pushed == [["r0"]]
    held = one(engine, "r1")
    assert (held.state, held.code, held.attempts) == ("held", "baseline", 0)
    assert held.release_by == START + HOUR_MS + 12 * MINUTE
    assert outbox.keeper.held == {"baseline": 1}
    assert acts(engine) == [("r1", "hold", "tallygate")]
    assert sum("are held for a person" in message for message in caplog.messages) == 1


async def test_released_by_itself_in_time(
    engine: Engine, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """At push_by and not before, so that it makes the collection at minute 15; once, and for good."""
    history(engine)
    fill(engine, 1, value="99.0000", begin=START, end=START + HOUR_MS)
    market = Marketplace()
    outbox = outbox_of(engine, market, clock, tender=tender(engine, clock, times=10))
    while clock.now_ms() < START + HOUR_MS + 12 * MINUTE:
        await outbox.push_due()
        assert market.pushed == []
        clock.advance(seconds=30)
    await outbox.push_due()
    await outbox.push_due()
    assert market.pushed == [["r0"]]
    assert (outbox.keeper.released, one(engine, "r0").state) == (1, "sent")
    assert acts(engine)[-1] == ("r0", "release", "tallygate")
    assert sum("nobody decided" in message for message in caplog.messages) == 1


async def test_another_control_plane_claims_nothing_that_nobody_looked_at(
    engine: Engine, clock: FakeClock
) -> None:
    """Records made between its review and its claim wait for the next one."""

    class Late(Tender):
        def tend(self) -> None:
            super().tend()
            fill(engine, 1)

    hold = BillingSettings.model_validate({"hold": {"times": 10}})
    late = Late(engine, clock, Ids("act"), TERMS, hold)
    market = Marketplace()
    outbox: Outbox = outbox_of(engine, market, clock, tender=late)
    assert await outbox.push_due() == 0
    assert states(engine) == {"r0": "pending"}
    assert await outbox_of(engine, market, clock, tender=tender(engine, clock, times=10)).push_due()


async def test_what_was_on_its_way_is_not_held(engine: Engine, clock: FakeClock) -> None:
    """The marketplace may have it: tried before, put back by a recovery, or without an answer."""
    history(engine)
    with writing(engine) as session:
        session.add(record("r0", value="99.0000", attempts=1))
        session.add(record("r1", value="99.0000", logged=True))
        session.add(record("r2", value="99.0000", state="sending"))
    market = Marketplace()
    outbox = outbox_of(engine, market, clock, tender=tender(engine, clock, times=10))
    assert await outbox.push_due() == 3
    assert outbox.keeper.held == {}


async def test_estimates_are_held(engine: Engine, clock: FakeClock) -> None:
    """By the grades of the hours behind a record."""
    books = Books(engine)
    books.clock = clock
    books.buy("i")
    books.buy("j")
    for instance_id, exact, estimated in (("i", 7000, 3000), ("j", 8000, 2000)):
        books.use(instance_id, exact, window=START // HOUR_MS)
        books.use(instance_id, estimated, window=START // HOUR_MS, grade="estimated")
    books.close()
    market = Marketplace()
    outbox = outbox_of(engine, market, clock, tender=tender(engine, clock, estimated_share="0.2"))
    assert await outbox.push_due() == 1
    (held,) = books.records("i")
    assert (held.state, held.code) == ("held", "estimated")
    assert "3000 of 10000" in held.error
    assert books.records("j")[0].state == "sent"


async def test_the_baseline_is_ones_own(engine: Engine, clock: FakeClock) -> None:
    """Of the same instance and product, and of the newest records only."""
    history(engine, 10)
    with writing(engine) as session:
        for number, columns in enumerate(
            [{"instance_id": "j"}, {"product_id": "q"}, {"value": "9.0000"}, {"value": "11.0000"}]
        ):
            session.add(record(f"r{number}", **({"value": "500.0000"} | columns)))
        for number in range(700, 703):  # newer than the history of ones, and larger
            session.add(record(f"r{number}", state="sent", value="10.0000", sent_at=NOW))
    keeper = tender(engine, clock, times=2, baseline=3)
    keeper.tend()
    assert {sn for sn, state in states(engine).items() if state == "held"} == set()
    with writing(engine) as session:
        session.add(record("r4", value="20.0001"))
    keeper.tend()
    assert {sn for sn, state in states(engine).items() if state == "held"} == {"r4"}


async def test_many_at_once(
    engine: Engine, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """More than one transaction's worth is looked at in one go, and spoken of once."""
    history(engine)
    fill(engine, 2 * store.SOME + 10, value="1.0000", instance_id="j")
    with writing(engine) as session:
        session.add_all(record(f"r{n}", value="99.0000") for n in range(5000, 5000 + store.SOME))
    market = Marketplace()
    outbox = outbox_of(engine, market, clock, tender=tender(engine, clock, times=10))
    assert await outbox.push_due() == 2 * store.SOME + 10
    assert outbox.keeper.held == {"baseline": store.SOME}
    said = [message for message in caplog.messages if "are held" in message]
    assert [message.split()[0] for message in said] == [str(store.SOME)]


async def test_too_old_is_never_sent(engine: Engine, clock: FakeClock) -> None:
    """It gets its own name; a younger one goes; one in the middle of a push is left alone."""
    old = NOW - EXPIRY_MS
    given = {"begin": old, "end": old + HOUR_MS}
    with writing(engine) as session:
        session.add(record("r0", **given))
        session.add(record("r1", **given | {"begin": old + 1000}))
        session.add(record("r2", state="held", begin=old, end=old + 2))
        session.add(record("r3", state="sending", begin=old, end=old + 3, next_attempt=NOW + 1))
        session.add(record("r4", state="sending", begin=old, end=old + 4, next_attempt=NOW))
        session.add(record("r5", state="sent", begin=old, end=old + 5, sent_at=NOW))
    market = Marketplace()
    outbox = outbox_of(engine, market, clock)
    await outbox.push_due()
    assert market.pushed == [["r1"]]
    found = states(engine)
    assert [found[f"r{n}"] for n in (0, 2, 3, 4, 5)] == [
        "expired",
        "expired",
        "sending",
        "expired",
        "sent",
    ]
    assert (one(engine, "r0").code, outbox.keeper.expired) == ("MKT.9004", 3)


async def test_collected_when_the_collection_is_past(engine: Engine, clock: FakeClock) -> None:
    """Hourly at minute 15 after it was sent, daily at 01:00 of the marketplace's zone."""
    fill(engine, 1)
    with writing(engine) as session:
        session.add(record("r1", product_id="d"))
        session.add(record("r2", product_id="unknown by now"))
    outbox = outbox_of(engine, Marketplace(), clock, tender=tender(engine, clock))
    await outbox.push_due()
    clock.time_ms = START + HOUR_MS + 15 * MINUTE - 1
    await outbox.push_due()
    assert set(states(engine).values()) == {"sent"}
    clock.advance(ms=1)
    await outbox.push_due()
    assert states(engine) == {"r0": "collected", "r1": "sent", "r2": "collected"}
    assert one(engine, "r0").collected_at == clock.now_ms()
    clock.time_ms = START + 9 * HOUR_MS  # 01:00 in Beijing
    await outbox.push_due()
    assert states(engine)["r1"] == "collected"
    assert outbox.keeper.collected == 3


async def test_nothing_is_touched_while_billing_is_stopped(
    engine: Engine, clock: FakeClock
) -> None:
    """The ledger may be an old one."""
    history(engine)
    with writing(engine) as session:
        session.add(record("r0", value="99.0000"))
        session.add(record("r1", state="sent", sent_at=1))
        session.add(record("r2", state="held", release_by=1))
        stops.stop(session, "set back", NOW)
    before = states(engine)
    tender(engine, clock, times=10).tend()
    assert states(engine) == before


async def test_deadlines_are_said_once(
    engine: Engine, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """When they come near, when they are missed, when it is over; with what it is worth."""
    with writing(engine) as session:
        for number in range(2):
            given = {"begin": START, "end": START + HOUR_MS - number, "value": "50.0000"}
            session.add(record(f"r{number}", **given))
    away = PushOutcome(Kind.TRANSIENT, "ConnectError", "was not sent")
    market = Marketplace(lambda _: away)
    outbox = outbox_of(engine, market, clock, tender=tender(engine, clock))
    with caplog.at_level(logging.INFO, logger="tallygate.push"):
        for minute in (89, 90, 91, 179, 180, 181):
            clock.time_ms = START + minute * MINUTE
            await outbox.push_due()
        market.judge = Marketplace().judge
        for minute in (183, 184):
            clock.time_ms = START + minute * MINUTE
            await outbox.push_due()
    said = [message for message in caplog.messages if "deadline" in message]
    assert said == [
        "hourly deadline in 5399 s for 2 usage records (100.0000 billing units, 2 CNY) not pushed",
        "hourly deadline missed by 2 of 2 usage records (100.0000 billing units, 2 CNY)",
        "no usage record is near its hourly deadline any more",
    ]


def test_hardly_any_sql_when_nothing_is_held(engine: Engine, clock: FakeClock) -> None:
    """Once a minute is often enough."""
    keeper = tender(engine, clock)
    keeper.tend()
    with writing(engine) as session:
        session.add(record("r0", state="sent", sent_at=1))
    clock.advance(ms=30 * SECOND)
    keeper.tend()
    assert states(engine) == {"r0": "sent"}
    clock.advance(ms=30 * SECOND)
    keeper.tend()
    assert states(engine) == {"r0": "collected"}


def test_two_at_once(engine: Engine, clock: FakeClock) -> None:
    """Whoever comes second finds nothing left to do, and counts nothing twice."""
    history(engine)
    fill(engine, 5, value="99.0000")
    keepers = [tender(engine, clock, times=10) for _ in range(4)]
    for number, keeper in enumerate(keepers):
        keeper.new_id = Ids(f"act of {number} ")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(Tender.tend, keepers))
    assert sum(keeper.held.get("baseline", 0) for keeper in keepers) == 5
    assert len(acts(engine)) == 5
    with reading(engine) as session:
        assert len(session.exec(select(UsageRecord).where(UsageRecord.state == "held")).all()) == 5
