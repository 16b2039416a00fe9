"""The same input gives the same ledger, row by row, on SQLite and on PostgreSQL."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import anyio
import pytest
import sqlalchemy as sa
from sqlalchemy import Engine
from sqlmodel import SQLModel, col, select

from billing_sync.key_making import MadeKey
from billing_sync.koogallery.order import Order
from billing_sync.koogallery.outcomes import Kind, PushOutcome
from billing_sync.lifecycle import Activity, Event, LifecycleEvent
from billing_sync.models import UsageRecord
from billing_sync.outbox import Outbox
from billing_sync.store import findings, history, lifecycle
from billing_sync.store.engine import reading, writing
from billing_sync.store.lifecycle import Purchase
from metering.findings import Finding
from metering.windows import HOUR_MS
from tests.billing_sync.books import Books
from tests.billing_sync.pushing import ACCEPTED, Marketplace, log_of
from tests.databases import Database, PostgresDatabase, SqliteFile
from tests.fakes import Ids
from tests.postgres import PostgresServer

TURNS = 40
REFUSED = PushOutcome(Kind.PERMANENT, "MKT.0150", "结算: of another seller")
NO_ANSWER = PushOutcome(Kind.AMBIGUOUS, "ReadTimeout", "no answer")


@pytest.fixture
def database_kind() -> str:
    raise AssertionError("this file has both at once")


@pytest.fixture
def engines(tmp_path: Path, postgres: PostgresServer) -> Iterator[list[Engine]]:
    """An empty ledger of each kind."""
    folders = [tmp_path / name for name in ("sqlite", "postgresql")]
    for folder in folders:
        folder.mkdir()
    places: tuple[Database, ...] = (
        SqliteFile(folders[0]),
        PostgresDatabase(postgres, folders[1], postgres.fresh()),
    )
    opened = [place.open() for place in places]
    yield opened
    for engine, place in zip(opened, places, strict=True):
        engine.dispose()
        place.drop()


class Life:
    """A shop whose whole life is told by a seed."""

    def __init__(self, engine: Engine, seed: int) -> None:
        self.books = Books(engine)
        self.dice = Random(seed)
        self.market = Marketplace(self.judge)
        ids = Ids("claim")
        self.outbox = Outbox(
            engine, self.market, self.books.clock, log_of(engine), ids, batch_size=3
        )
        self.bought: list[str] = []
        self.turn = 0

    def judge(self, serials: list[str]) -> PushOutcome:
        dice = self.dice.random()
        if dice < 0.6:
            return ACCEPTED
        return replace(REFUSED, abnormal=tuple(serials[:1])) if dice < 0.75 else NO_ANSWER

    def live(self) -> None:
        steps = [self.buy, self.use, self.use, self.use, self.event, self.cut, self.hour, self.push]
        self.buy()
        for self.turn in range(TURNS):
            self.dice.choice(steps)()
            self.books.clock.advance(ms=self.dice.randint(1, 90_000))

    def event_of(
        self, activity: Activity, event: Event, instance_id: str, **more: Any
    ) -> LifecycleEvent:
        sent_at = self.books.clock.now_ms() - self.dice.randint(0, 5000)
        return LifecycleEvent(activity, event, instance_id, sent_at, '{"名": 1}', **more)

    def buy(self) -> None:
        """Of one of a few customers; sometimes the order is not known yet."""
        name = f"i{len(self.bought)}"
        product = self.dice.choice(["TOKENS", "TOKENS", "CALLS", "PACK", "STOP"])
        customer = self.dice.choice("ab")
        order = Order(name, "line", (product,), "pay", customer, f"顾客 {customer}", 0, '{"a": 1}')
        key = MadeKey(f"digest {name}", f"sealed {name}")
        known = self.dice.random() < 0.8
        purchase = Purchase(order, product, product in ("PACK", "STOP"), key) if known else None
        event = self.event_of(Activity.NEW, Event.KNOWN, name, order_id=name, order_line_id="line")
        self.write(partial(lifecycle.create, event=event, purchase=purchase))
        self.bought.append(name)

    def event(self) -> None:
        """A freeze, an end of one, a renewal or, seldom, a release; some come twice."""
        activity, event = self.dice.choice(
            [
                (Activity.STATUS, Event.FREEZE),
                (Activity.STATUS, Event.UNFREEZE),
                (Activity.REFRESH, Event.REFRESH),
                (Activity.RELEASE, Event.RELEASE),
            ]
        )
        expires = self.books.clock.now_ms() + self.dice.randint(1, 30 * HOUR_MS)
        told = self.event_of(activity, event, self.dice.choice(self.bought), expires=expires)
        for _ in range(self.dice.choice([1, 1, 2])):
            self.write(partial(lifecycle.apply, event=told))

    def write(self, job: Any) -> None:
        with writing(self.books.engine) as session:
            job(session, at=self.books.clock.now_ms())

    def use(self) -> None:
        """In this hour or the one before, by an instance or by nobody's."""
        window = self.books.clock.now_ms() // HOUR_MS - self.dice.choice([0, 0, 0, 1])
        meter = self.dice.choice(["tokens_total", "requests"])
        name = self.dice.choice([*self.bought, ""])
        customer = self.dice.choice("ab")
        quantity = self.dice.choice([1, 77, 3_000, 10**9])
        self.books.use(name, quantity, window=window, meter=meter, customer_id=customer)

    def cut(self) -> None:
        """The open hour, and a finding."""
        self.books.newest_claim = self.outbox.log.newest()
        self.books.cut(released_only=self.dice.random() < 0.5)
        found = [Finding("uncertain", "lane", "host", 1, request_id=f"r{self.turn}")]
        with writing(self.books.engine) as session:
            assert findings.insert(session, found) == 1

    def hour(self) -> None:
        """The next hour begins; what is old goes."""
        self.books.to_the_next_hour()
        self.books.newest_claim = self.outbox.log.newest()
        self.books.close()
        with writing(self.books.engine) as session:
            history.let_go(session, history.old(session, 0, self.books.clock.now_ms()))

    def push(self) -> None:
        anyio.run(self.outbox.push_due)


def dump(engine: Engine) -> dict[str, list[str]]:
    """Every row of every table; ids that the database gives count as an order only."""
    found = {}
    with reading(engine) as session:
        for table in SQLModel.metadata.sorted_tables:
            rows = session.connection().execute(sa.select(table)).mappings().all()
            shown = [dict(row) for row in rows]
            given = table.autoincrement_column
            if given is not None and given.name == "id" and table.name != "partition":
                shown.sort(key=lambda row: row["id"])
                shown = [row | {"id": number} for number, row in enumerate(shown)]
            found[table.name] = sorted(repr(row) for row in shown)
    return found


@pytest.mark.parametrize("seed", range(3))
def test_row_by_row(engines: list[Engine], seed: int) -> None:
    """Usage, purchases, freezes, releases, packages, closes, cuts, and pushes that go wrong."""
    lives = [Life(engine, seed) for engine in engines]
    for life in lives:
        life.live()
    ours, theirs = map(dump, engines)
    for name, rows in ours.items():
        assert rows == theirs[name], name
    assert lives[0].market.bodies == lives[1].market.bodies
    with reading(engines[0]) as session:
        states = set(session.exec(select(col(UsageRecord.state)).distinct()))
    assert states  # something was billed at all


def test_the_dump_sees_a_difference(engines: list[Engine]) -> None:
    """One life longer by one use."""
    lives = [Life(engine, 1) for engine in engines]
    for life in lives:
        life.live()
    lives[1].books.use(lives[1].bought[0], 1)
    assert dump(engines[0]) != dump(engines[1])
