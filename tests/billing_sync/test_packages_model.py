"""Packages against a plain model: any purchases, freezes, renewals, releases, usage and closes.

The model keeps a list of packages and a few sums, and walks through them one by one; the ledger does
the same in bulk. After every step both say the same, no package gave more than its quota, and the
records are such as the marketplace takes.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import Engine
from sqlmodel import select

from billing_sync.lifecycle import Activity, Event, LifecycleEvent
from billing_sync.models import Bucket, Carry, Instance, PackageUse, UsageRecord, UsageWindow
from billing_sync.package_models import PackageTotal
from billing_sync.packages import OVERSHOOT, WAITING
from billing_sync.records import SCALE
from billing_sync.store import lifecycle
from billing_sync.store.engine import reading, writing
from metering.catalogue import Package, PackageItem, Product, catalogue
from metering.windows import HOUR_MS, Window, end_ms, start_ms, window_of
from tests.billing_sync.books import METER, Books, audit_intervals
from tests.databases import new_ledger_in_memory

K = TypeVar("K")

ITEMS = {"i": "TOKENS", "j": "TOKENS", "m": "MMS"}
METERS = {"i": METER, "j": METER, "m": "images"}
UNITS = {"TOKENS": 1000, "MMS": 7}
POLICIES = {"STOP": "absorb", "NEXT": "next_package", "PPU": "pay_per_use"}


def _sold(product_id: str, **quotas: str) -> Product:
    policy = POLICIES.get(product_id)
    terms = {
        "items": [PackageItem(of=item, quota=Decimal(quota)) for item, quota in quotas.items()],
        "stop_before_excess": policy is not None,
        "overshoot": policy or "absorb",
    }
    return Product(product_id=product_id, package=Package.model_validate(terms))


QUOTAS = {
    "ORD": {"MMS": "3.3333"},
    "STOP": {"TOKENS": "10", "MMS": "5.5"},
    "NEXT": {"TOKENS": "7.0001"},
    "PPU": {"MMS": "2"},
}
PRODUCTS = catalogue(
    [
        Product(product_id="TOKENS", meter=METER, unit=UNITS["TOKENS"]),
        Product(product_id="MMS", meter="images", unit=UNITS["MMS"]),
        *(_sold(name, **quotas) for name, quotas in QUOTAS.items()),
    ]
)


@dataclass
class Pack:
    """A package as the model knows it."""

    name: str
    product: str
    started: int
    expires: int
    left: dict[str, int]
    released: int = 0
    freezes: list[list[int]] = field(default_factory=list)  # [from, until], until 0 while frozen

    @property
    def stops(self) -> bool:
        return self.product in POLICIES

    def held(self, t: int) -> bool:
        return self.started <= t and (not self.released or t < self.released)

    def usable(self, t: int) -> bool:
        frozen = any(begin <= t and (not end or t < end) for begin, end in self.freezes)
        return self.held(t) and not frozen and (not self.expires or t < self.expires)


@dataclass
class Snapshot:
    """The ledger at one instant."""

    instances: dict[str, Instance]
    windows: Sequence[UsageWindow]
    uses: Sequence[PackageUse]
    totals: Sequence[PackageTotal]
    records: Sequence[UsageRecord]
    carries: Sequence[Carry]
    buckets: Sequence[Bucket]

    @classmethod
    def of(cls, engine: Engine) -> "Snapshot":
        with reading(engine) as session:
            return cls(
                {row.id: row for row in session.exec(select(Instance))},
                session.exec(select(UsageWindow)).all(),
                session.exec(select(PackageUse)).all(),
                session.exec(select(PackageTotal)).all(),
                session.exec(select(UsageRecord)).all(),
                session.exec(select(Carry)).all(),
                session.exec(select(Bucket)).all(),
            )


def summed(amounts: Iterable[tuple[K, int]]) -> dict[K, int]:
    """By key; nothing is left out but zeros."""
    found: dict[K, int] = {}
    for key, quantity in amounts:
        found[key] = found.get(key, 0) + quantity
    return {key: quantity for key, quantity in found.items() if quantity}


class Packages(RuleBasedStateMachine):
    """One customer with three pay-per-use instances and any number of packages."""

    def __init__(self) -> None:
        super().__init__()
        self.engine = new_ledger_in_memory()
        self.books = Books(self.engine, PRODUCTS)
        for name, item in ITEMS.items():
            self.books.buy(name, item)
        self.packs: list[Pack] = []
        self.used = dict.fromkeys(ITEMS, 0)
        self.given: dict[tuple[str, str], int] = {}
        self.renewals = 0

    def teardown(self) -> None:
        self.engine.dispose()

    # --- what happens

    @rule(ms=st.integers(1, 50 * 60_000))
    def time_goes_by(self, ms: int) -> None:
        self.books.clock.advance(ms=ms)

    @rule()
    def an_hour_ends(self) -> None:
        self.books.to_the_next_hour()
        self.close()

    @rule()
    def close(self) -> None:
        if self.books.close() is not None:  # it had something to close
            self._settle_waiting()

    @rule(
        instance=st.sampled_from(sorted(ITEMS)),
        quantity=st.one_of(st.integers(1, 60), st.integers(1, 9000)),
        back=st.sampled_from([0, 0, 0, 1, 2, 5]),
    )
    def use(self, instance: str, quantity: int, back: int) -> None:
        now = self.books.clock.now_ms()
        origin = window_of(now) - back
        closed = self.books.closed_through()
        self.books.use(instance, quantity, window=origin, meter=METERS[instance])
        self.used[instance] += quantity
        self._settle_waiting()
        late = end_ms(Window(origin)) <= closed
        window = Window(max(window_of(now), window_of(closed)) if late else origin)
        self._deduct(instance, quantity, Window(origin), window, now)

    @rule(
        product=st.sampled_from(sorted(QUOTAS)),
        hours=st.sampled_from([0, 1, 3]),
        times=st.sampled_from([1, 1, 2]),
    )
    def buy(self, product: str, hours: int, times: int) -> None:
        now = self.books.clock.now_ms()
        name = f"p{len(self.packs):02}"
        expires = now + hours * HOUR_MS if hours else 0
        self.books.buy(name, product, started=now, expires=expires, linear_value=times)
        left = {
            item: int(Decimal(quota) * UNITS[item] * times)
            for item, quota in QUOTAS[product].items()
        }
        self.packs.append(Pack(name, product, now, expires, left))

    @precondition(lambda self: self.packs)
    @rule(data=st.data(), what=st.sampled_from([Event.FREEZE, Event.UNFREEZE, Event.RELEASE]))
    def change(self, data: st.DataObject, what: Event) -> None:
        pack = data.draw(st.sampled_from(self.packs))
        now = self.books.clock.now_ms()
        self._tell(pack, what)
        if pack.released:
            return
        is_frozen = bool(pack.freezes) and not pack.freezes[-1][1]
        if what is Event.FREEZE and not is_frozen:
            pack.freezes.append([now, 0])
        elif what is Event.UNFREEZE and is_frozen:
            pack.freezes[-1][1] = now
        elif what is Event.RELEASE:
            pack.released = now

    @precondition(lambda self: self.packs)
    @rule(data=st.data(), hours=st.integers(-2, 5))
    def renew(self, data: st.DataObject, hours: int) -> None:
        pack = data.draw(st.sampled_from(self.packs))
        expires = self.books.clock.now_ms() + hours * HOUR_MS
        self._tell(pack, Event.REFRESH, expires)
        if not pack.released:
            pack.expires = expires

    def _tell(self, pack: Pack, what: Event, expires: int = 0) -> None:
        self.renewals += 1
        self.books.clock.advance(ms=1)  # the marketplace's callbacks have times of their own
        now = self.books.clock.now_ms()
        activity = {Event.REFRESH: Activity.REFRESH, Event.RELEASE: Activity.RELEASE}
        told = LifecycleEvent(
            activity.get(what, Activity.STATUS),
            what,
            pack.name,
            sent_at=now - 1,
            body="",
            order_id=str(self.renewals),
            expires=expires,
        )
        with writing(self.engine) as session:
            lifecycle.apply(session, told, now)

    # --- the model

    def _deduct(
        self, instance: str, quantity: int, origin: Window, window: Window, now: int
    ) -> None:
        item = ITEMS[instance]
        used, last = min(now, end_ms(origin) - 1), min(now, end_ms(window) - 1)
        covering = [pack for pack in self._ordered() if item in QUOTAS[pack.product]]
        for pack in covering:
            quantity -= self._give(pack, instance, quantity, used)
        policy = "pay_per_use"
        for pack in covering:
            inside = pack.started <= start_ms(window) and pack.held(last)
            if pack.stops and (pack.held(used) or inside):
                policy = POLICIES[pack.product]
        place = {"absorb": OVERSHOOT, "next_package": WAITING}.get(policy)
        if quantity and place:
            self.given[place, instance] = self.given.get((place, instance), 0) + quantity

    def _give(self, pack: Pack, instance: str, quantity: int, at: int) -> int:
        item = ITEMS[instance]
        part = min(quantity, pack.left.get(item, 0)) if pack.usable(at) else 0
        if part:
            pack.left[item] -= part
            place = (pack.name, instance)
            self.given[place] = self.given.get(place, 0) + part
        return part

    def _settle_waiting(self) -> None:
        now = self.books.clock.now_ms()
        for instance in sorted(ITEMS, key=lambda name: (ITEMS[name], name)):
            for pack in self._ordered():
                waits = self.given.get((WAITING, instance), 0)
                if pack.stops and waits:
                    self.given[WAITING, instance] -= self._give(pack, instance, waits, now)

    def _ordered(self) -> list[Pack]:
        return sorted(self.packs, key=lambda p: (p.expires or 2**63, p.started, p.name))

    # --- what must hold

    @invariant()
    def everything_holds(self) -> None:
        books = Snapshot.of(self.engine)
        self.ledger_and_model_agree(books)
        for name, used in self.used.items():
            self.everything_used_stands_somewhere_once(books, name, used)
            self.values_are_exact(books, name)
            self.no_record_breaks_a_rule_of_the_platform(books, name)

    def ledger_and_model_agree(self, books: "Snapshot") -> None:
        given = {place: quantity for place, quantity in self.given.items() if quantity}
        totals = summed(((t.package_id, t.instance_id), t.quantity) for t in books.totals)
        uses = summed(((u.package_id, u.instance_id), u.quantity) for u in books.uses)
        assert totals == uses == given
        assert all(0 <= use.recorded <= use.quantity for use in books.uses)
        assert all(left >= 0 for pack in self.packs for left in pack.left.values())

    def everything_used_stands_somewhere_once(
        self, books: "Snapshot", name: str, used: int
    ) -> None:
        """Deducted + pay-per-use + overshoot = used, for records and for what waits for them."""
        stops = {pack.name for pack in self.packs if pack.stops}
        mine = [use for use in books.uses if use.instance_id == name]
        given = summed((use.package_id, use.quantity) for use in mine)
        closed = summed((use.package_id, use.recorded) for use in mine)
        covered = summed(
            [(r.relate_pkg_instance, r.quantity) for r in books.records if r.instance_id == name]
            + [(c.package_id, c.waiting) for c in books.carries if c.instance_id == name]
        )
        for package_id in stops:  # its slices are its records
            assert covered.get(package_id, 0) == closed.get(package_id, 0)
        overshoot = given.get(OVERSHOOT, 0) + given.get(WAITING, 0)
        assert closed.get(OVERSHOOT, 0) + closed.get(WAITING, 0) == sum(
            row.quantity for row in books.buckets if row.instance_id == name
        )
        rows = [row for row in books.windows if row.instance_id == name]
        waits = sum(row.quantity - row.recorded for row in rows)
        named = [*stops, OVERSHOOT, WAITING]
        plain = covered.get("", 0) + waits
        plain -= sum(given.get(place, 0) - closed.get(place, 0) for place in named)
        deducted = sum(given.get(package_id, 0) for package_id in stops)
        assert deducted + plain + overshoot == used == sum(row.quantity for row in rows)
        # The marketplace deducts ordinary packages from plain records, so they must hold as much.
        assert plain >= sum(given.values()) - deducted - overshoot

    def values_are_exact(self, books: "Snapshot", name: str) -> None:
        unit = UNITS[ITEMS[name]]
        found = [r for r in books.records if r.instance_id == name]
        left = [c for c in books.carries if c.instance_id == name]
        for place in {r.relate_pkg_instance for r in found} | {c.package_id for c in left}:
            records = [r for r in found if r.relate_pkg_instance == place]
            carries = [c for c in left if c.package_id == place]
            covered = sum(r.quantity for r in records) + sum(c.waiting for c in carries)
            pushed = sum((Decimal(r.value) for r in records), Decimal(0))
            assert pushed * unit * SCALE + sum(c.quantity for c in carries) == covered * SCALE

    def no_record_breaks_a_rule_of_the_platform(self, books: "Snapshot", name: str) -> None:
        item = ITEMS[name]
        found = [record for record in books.records if record.instance_id == name]
        audit_intervals(books.instances[name], found)
        by_name = {pack.name: pack for pack in self.packs}
        for record in found:
            value = Decimal(record.value)
            assert 0 < value == round(value, 4)
            if record.relate_pkg_instance:
                pack = by_name[record.relate_pkg_instance]
                assert pack.stops
                assert item in QUOTAS[pack.product]
            elif item == "TOKENS":  # of which every package stops and none is pay-per-use
                assert not any(self._must_be_named(record, pack) for pack in self.packs)

    def _must_be_named(self, record: UsageRecord, pack: Pack) -> bool:
        covers = "TOKENS" in QUOTAS[pack.product]
        ended = bool(pack.released) and record.end > pack.released
        return covers and pack.started <= record.begin and not ended


def test_packages_and_the_model_agree() -> None:
    """For any sequence."""
    chosen = settings(
        max_examples=14,
        stateful_step_count=25,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(Packages, settings=chosen)
