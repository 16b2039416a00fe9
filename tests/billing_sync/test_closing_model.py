"""Any sequence of usage, late usage, upgrades, releases, adjustments and clock positions, on real SQL.

Σ value × unit + remainders + buckets + what still waits = Σ usage + adjustments, exactly, in
ten-thousandths of the meter's unit; and every record is one the platform takes.
"""

from collections.abc import Callable
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine
from sqlmodel import SQLModel

from billing_sync.models import Carry, Instance, UsageRecord
from billing_sync.records import SCALE
from billing_sync.store.engine import writing
from billing_sync.upgrade_models import Upgrade
from metering.catalogue import Band, Price, Product, catalogue
from metering.windows import HOUR_MS
from tests.billing_sync.books import CATALOGUE, METER, MINUTE, START, Books, audit_intervals

PRODUCTS = {
    "TOKENS": Product(product_id="TOKENS", meter=METER, unit=1000),
    "FINE": Product(product_id="FINE", meter=METER),
    "DAY": Product(product_id="DAY", meter=METER, unit=7, cycle="day"),
    "TIER": Product(
        product_id="TIER",
        meter=METER,
        unit=30_000_000,
        cycle="day",
        price=Price(mode="tier", bands=[Band(price=Decimal(1))]),
    ),
    "CALLS": Product(product_id="CALLS", meter="requests"),
    "AGENT": Product(product_id="AGENT", meter=METER, charged_by="agents_gateway"),
}
names = st.sampled_from("ij")
actions = st.lists(
    st.one_of(
        st.tuples(st.just("use"), names, st.integers(1, 9000), st.integers(-3, 1)),
        st.tuples(st.just("use"), names, st.integers(10**8, 10**12), st.integers(-30, 0)),
        st.tuples(st.just("wait"), st.integers(1, 20_000)),
        st.tuples(st.just("wait"), st.integers(1, 30 * HOUR_MS)),
        st.tuples(st.just("close")),
        st.tuples(st.just("cut"), st.booleans()),
        st.tuples(st.just("upgrade"), names, st.sampled_from(sorted(PRODUCTS))),
        st.tuples(st.just("adjust"), names, st.integers(-9000, 9000)),
        st.tuples(st.just("buy"), st.sampled_from(["PACK", "STOP"])),
        st.tuples(st.just("release"), names, st.integers(-60_000, 60_000)),
    ),
    max_size=25,
)


@settings(max_examples=16, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    script=actions,
    first=st.sampled_from(["TOKENS", "DAY", "TIER"]),
    started=st.integers(0, 5000),
    page=st.sampled_from([1, 3, 4000]),
)
def test_whatever_happens_sums_are_exact(
    engine: Engine, script: list[tuple[Any, ...]], first: str, started: int, page: int
) -> None:
    """After every step, and nothing waits at the end."""
    with writing(engine) as session:
        for table in reversed(SQLModel.metadata.sorted_tables):
            session.execute(table.delete())
    history = History(engine, first, started, page)
    for action, *words in script:
        step: Callable[..., None] = getattr(history, action)
        step(*words)
        history.audit()
    history.finish()


class History:
    """What can happen, one method each."""

    def __init__(self, engine: Engine, first: str, started: int, page: int) -> None:
        packs = {name: CATALOGUE[name] for name in ("PACK", "STOP")}
        self.books = Books(engine, catalogue([*PRODUCTS.values(), *packs.values()]))
        self.books.zone = ZoneInfo("Europe/Berlin")
        self.books.page = page
        self.used = dict.fromkeys("ij", 0)
        self.adjusted = dict.fromkeys("ij", 0)
        self.released: dict[str, set[str]] = {}  # the records an instance had by then
        for name in "ij":
            self.books.buy(name, first, started=START + 10 * MINUTE - started)

    def use(self, name: str, quantity: int, ahead: int) -> None:
        window = self.books.clock.now_ms() // HOUR_MS + ahead
        self.books.use(name, quantity, window=window, meter=self._meter(name))
        self.used[name] += quantity

    def _meter(self, name: str) -> str:
        """The gateway knows the product of now."""
        instance = next(i for i in self.books.all(Instance) if i.id == name)
        return PRODUCTS[instance.product_id].meter or ""

    def wait(self, ms: int) -> None:
        self.books.clock.advance(ms=ms)

    def close(self) -> None:
        self.books.close()

    def cut(self, released_only: bool) -> None:
        self.books.cut(released_only=released_only)

    def buy(self, product_id: str) -> None:
        now_ms = self.books.clock.now_ms()
        number = sum(1 for i in self.books.all(Instance) if i.is_package)
        self.books.buy(f"pack-{number}", product_id, started=now_ms)

    def upgrade(self, name: str, product_id: str) -> None:
        instance = next(i for i in self.books.all(Instance) if i.id == name)
        if name in self.released or instance.product_id == product_id:
            return
        now_ms = self.books.clock.now_ms()
        with writing(self.books.engine) as session:
            session.merge(
                Upgrade(
                    instance_id=name,
                    order_id=str(now_ms),
                    order_line_id=product_id,
                    partition=0,
                    at=now_ms,
                    received_at=now_ms,
                    old_product_id=instance.product_id,
                    new_product_id=product_id,
                )
            )
        self.books.change(name, product_id=product_id)
        self.books.clock.advance(ms=1)

    def adjust(self, name: str, quantity: int) -> None:
        with writing(self.books.engine) as session:
            row = session.get(Carry, (name, "")) or Carry(instance_id=name)
            row.quantity += quantity * SCALE
            session.add(row)
        self.adjusted[name] += quantity

    def release(self, name: str, offset: int) -> None:
        if name not in self.released:
            self.released[name] = {r.metering_sn for r in self.books.records(name)}
            self.books.release(name, sent_at=self.books.clock.now_ms() + offset)

    def audit(self) -> None:
        for instance in self.books.all(Instance):
            if not instance.is_package:
                self._audit(instance)

    def _audit(self, instance: Instance) -> None:
        records = self.books.records(instance.id)
        pushed = sum((Decimal(r.value) * r.unit * SCALE for r in records), Decimal(0))
        carried = sum(c.quantity for c in self.books.all(Carry) if c.instance_id == instance.id)
        named = sum(self.books.buckets(instance.id).values())
        waiting = self.books.unrecorded(instance.id)
        used = self.used[instance.id] + self.adjusted[instance.id]
        assert pushed + carried + (named + waiting) * SCALE == used * SCALE
        audit_intervals(instance, records)
        for record in records:
            assert 0 < Decimal(record.value) <= Decimal("99999999.9999")
            assert Decimal(record.value) == round(Decimal(record.value), 4)
            self._lies_in_the_life_of(instance, record)

    def _lies_in_the_life_of(self, instance: Instance, record: UsageRecord) -> None:
        if record.metering_sn not in self.released.get(instance.id, {record.metering_sn}):
            assert record.end <= instance.released

    def finish(self) -> None:
        """Released, and long over: everything is recorded or named."""
        for name in "ij":
            self.release(name, 0)
        self.books.clock.advance(ms=50 * HOUR_MS)
        self.books.close()
        self.audit()
        assert [self.books.unrecorded(name) for name in "ij"] == [0, 0]
