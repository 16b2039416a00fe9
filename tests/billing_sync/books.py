"""A ledger to play with: buy, use, close, release on real SQL; and the audit that must always hold."""

from collections.abc import Iterable, Mapping
from datetime import UTC, tzinfo
from decimal import Decimal
from itertools import pairwise
from typing import Any

from sqlalchemy import Engine
from sqlmodel import SQLModel, col, select

from billing_sync.alerts import SILENT, AlertTerms
from billing_sync.closing import Closer, Made
from billing_sync.drain import Drainer
from billing_sync.lifecycle import Activity
from billing_sync.models import (
    Ahead,
    Bucket,
    Carry,
    CustomerRow,
    Instance,
    LifecycleInbox,
    PackageUse,
    Partition,
    UsageRecord,
    UsageWindow,
)
from billing_sync.origins import decode, total
from billing_sync.package_models import PackageTotal
from billing_sync.records import SCALE, metering_sn, up_to_second
from billing_sync.store import ledger
from billing_sync.store.engine import reading, writing
from metering.catalogue import Catalogue, Package, PackageItem, Product, catalogue
from metering.deltas import DeltaKey
from metering.protocol import Content
from metering.usage import Grade
from metering.windows import HOUR_MS, Window, window_of
from tests.fakes import FakeClock, Ids

HOUR = 500_000  # a window
START = HOUR * HOUR_MS  # its first millisecond
SECOND = 1000
MINUTE = 60 * SECOND
METER = "tokens_total"


def package(product_id: str, quota: int, *, stop: bool = False, of: str = "TOKENS") -> Product:
    """A package of so many billing units."""
    items = [PackageItem(of=of, quota=Decimal(quota))]
    return Product(product_id=product_id, package=Package(items=items, stop_before_excess=stop))


CATALOGUE = catalogue(
    [
        Product(product_id="TOKENS", meter=METER, unit=1000),
        Product(product_id="CALLS", meter="requests"),
        package("PACK", 10),
        package("STOP", 10, stop=True),
        package("STOP-2", 10, stop=True),
    ]
)


class Books:
    """One partition's ledger at 00:10 of an hour, and a clock."""

    def __init__(self, engine: Engine, products: Catalogue = CATALOGUE) -> None:
        self.engine = engine
        self.catalogue = products
        self.clock = FakeClock(START + 10 * MINUTE)
        self.ids = Ids("drain")
        self.newest_claim = ""
        self.zone: tzinfo = UTC
        self.page = 4000
        self.alerts: AlertTerms = SILENT
        ledger.set_up(engine, 1, Ids())

    def buy(self, instance_id: str, product_id: str = "TOKENS", **columns: Any) -> str:
        """An active instance that started at the hour."""
        sold = self.catalogue.get(product_id)
        given: dict[str, Any] = {
            "customer_id": "cust-1",
            "status": "active",
            "started": START,
            "is_package": sold is not None and sold.is_package,
        } | columns
        with writing(self.engine) as session:
            session.add(Instance(id=instance_id, product_id=product_id, **given))
            if session.get(CustomerRow, given["customer_id"]) is None:
                session.add(CustomerRow(id=given["customer_id"], name="One"))
        return instance_id

    def to_the_next_hour(self) -> None:
        """Two seconds into it."""
        self.clock.time_ms = (self.clock.time_ms // HOUR_MS + 1) * HOUR_MS + 2 * SECOND

    def use(
        self, instance_id: str, quantity: int, *, window: int | None = None, **key: Any
    ) -> None:
        """A drain with this usage is committed. The window is that of now unless given."""
        given = {"customer_id": "cust-1", "route": "chat", "meter": METER, "grade": Grade.EXACT}
        at = Window(window_of(self.clock.now_ms()) if window is None else window)
        self.drain({DeltaKey(at, instance_id=instance_id, **(given | key)): quantity})

    def drain(self, deltas: Mapping[DeltaKey, int]) -> None:
        """Commit a set-aside with these deltas, as the drain does."""
        with reading(self.engine) as session:
            place = ledger.place(session, 0)
        aside = Content(place.epoch, place.last, self.ids(), {"lane": 1}, deltas)
        drainer = Drainer(self.engine, None, self.catalogue, self.clock, self.ids)  # type: ignore[arg-type]
        drainer.alerts = self.alerts
        assert drainer.commit(0, aside)

    def close(self, *, through_ms: int | None = None) -> Made | None:
        """Close what is over by now."""
        now_ms = self.clock.now_ms()
        through = now_ms // HOUR_MS * HOUR_MS if through_ms is None else through_ms
        return self._closer().close(
            0, through_ms=through, now_ms=now_ms, newest_claim=self.newest_claim
        )

    def cut(self, *, released_only: bool = False) -> Made:
        """Record up to now."""
        return self._closer().cut(
            0,
            now_ms=self.clock.now_ms(),
            released_only=released_only,
            newest_claim=self.newest_claim,
        )

    def _closer(self) -> Closer:
        return Closer(self.engine, self.catalogue, self.zone, self.page, self.alerts)

    def release(self, instance_id: str, *, sent_at: int | None = None) -> None:
        """The marketplace's callback, received now."""
        now_ms = self.clock.now_ms()
        sent_at = now_ms if sent_at is None else sent_at
        with writing(self.engine) as session:
            instance = session.get_one(Instance, instance_id)
            instance.status, instance.released = "released", sent_at
            session.add(instance)
            session.add(
                LifecycleInbox(
                    identity=f"release {instance_id}",
                    activity=Activity.RELEASE,
                    instance_id=instance_id,
                    body="",
                    sent_at=sent_at,
                    received_at=now_ms,
                    answer="",
                )
            )

    def change(self, instance_id: str, **columns: Any) -> None:
        """Overwrite columns of an instance."""
        with writing(self.engine) as session:
            instance = session.get_one(Instance, instance_id)
            for name, value in columns.items():
                setattr(instance, name, value)
            session.add(instance)

    def records(self, instance_id: str = "i") -> list[UsageRecord]:
        """Its usage records in the order of their intervals."""
        query = (
            select(UsageRecord)
            .where(UsageRecord.instance_id == instance_id)
            .order_by(col(UsageRecord.begin))
        )
        with reading(self.engine) as session:
            return list(session.exec(query))

    def intervals(self, instance_id: str = "i") -> list[tuple[float, float]]:
        """Begin and end of its records in seconds after the hour."""
        found = self.records(instance_id)
        return [((r.begin - START) / SECOND, (r.end - START) / SECOND) for r in found]

    def buckets(self, instance_id: str = "i") -> dict[str, int]:
        """What stands in its buckets."""
        found: dict[str, int] = {}
        for row in self.all(Bucket):
            if row.instance_id == instance_id:
                found[row.name] = found.get(row.name, 0) + row.quantity
        return found

    def all(self, table: type[SQLModel]) -> list[Any]:
        """Every row."""
        with reading(self.engine) as session:
            return list(session.exec(select(table)))

    def unrecorded(self, instance_id: str = "i") -> int:
        """Usage without a record or bucket as yet."""
        return sum(
            row.quantity - row.recorded
            for row in self.all(UsageWindow)
            if row.instance_id == instance_id
        )

    def closed_through(self) -> int:
        """The end of the last closed window."""
        (row,) = self.all(Partition)
        return int(row.closed_through)

    def audit(self, instance_id: str = "i", *, unit: int = 1000) -> None:
        """Everything used is recorded, named or waiting; records are such as the marketplace takes."""
        windows = [row for row in self.all(UsageWindow) if row.instance_id == instance_id]
        carries = [row for row in self.all(Carry) if row.instance_id == instance_id]
        found = self.records(instance_id)
        covered = sum(r.quantity for r in found) + sum(c.waiting for c in carries)
        used = sum(row.quantity for row in windows)
        used += sum(row.quantity for row in self.all(Ahead) if row.instance_id == instance_id)
        named = sum(self.buckets(instance_id).values())
        assert used == covered + named + self.unrecorded(instance_id)
        assert all(total(decode(c.origins)) == c.waiting for c in carries)
        assert all(total(decode(r.origins)) == r.quantity for r in found)
        assert all(0 <= row.recorded <= row.quantity for row in windows)
        for name in {r.relate_pkg_instance for r in found} | {c.package_id for c in carries}:
            _audit_values(
                [r for r in found if r.relate_pkg_instance == name],
                [c for c in carries if c.package_id == name],
                unit,
            )
        with reading(self.engine) as session:
            audit_intervals(session.get_one(Instance, instance_id), found)

    def given(self) -> dict[tuple[str, str], int]:
        """What each package, OVERSHOOT and WAITING gave to each instance."""
        totals: dict[tuple[str, str], int] = {}
        for row in self.all(PackageTotal):
            place = (row.package_id, row.instance_id)
            totals[place] = totals.get(place, 0) + row.quantity
        return {place: quantity for place, quantity in totals.items() if quantity}

    def audit_packages(self) -> None:
        """The running totals are the sums of what stands per window, and nothing is below zero."""
        sums: dict[tuple[str, str], int] = {}
        for row in self.all(PackageUse):
            assert 0 <= row.recorded <= row.quantity
            place = (row.package_id, row.instance_id)
            sums[place] = sums.get(place, 0) + row.quantity
        assert {place: total for place, total in sums.items() if total} == self.given()
        assert all(row.quantity >= 0 for row in self.all(PackageTotal))


def _audit_values(found: list[UsageRecord], carries: list[Carry], unit: int) -> None:
    pushed = sum((Decimal(r.value) for r in found), Decimal(0))
    covered = sum(r.quantity for r in found) + sum(c.waiting for c in carries)
    assert pushed * unit * SCALE + sum(c.quantity for c in carries) == covered * SCALE
    assert all(0 <= c.quantity < unit * SCALE for c in carries)
    for record in found:
        value = Decimal(record.value)
        assert 0 < value <= Decimal("99999999.9999")
        assert "E" not in record.value
        assert value == round(value, 4)
        assert len(record.value) <= 20


def audit_intervals(instance: Instance, found: Iterable[UsageRecord]) -> None:
    """Whole seconds, at least one, inside the instance's life, none overlapping (spec §7.2)."""
    ordered = sorted(found, key=lambda record: record.begin)
    for record in ordered:
        assert record.begin % SECOND == record.end % SECOND == 0
        assert up_to_second(instance.started) <= record.begin < record.end <= record.recorded_at
        assert record.metering_sn == metering_sn(instance.id, record.begin, record.end)
    for earlier, later in pairwise(ordered):
        assert earlier.end <= later.begin
