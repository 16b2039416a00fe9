"""Drains deduct from packages: when a package counts, in what order, and at what price in SQL."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Engine, event

from billing_sync.lifecycle import Activity, Event, LifecycleEvent
from billing_sync.models import PackageUse
from billing_sync.package_models import PackageTotal
from billing_sync.packages import OVERSHOOT, WAITING
from billing_sync.store import lifecycle
from billing_sync.store.engine import reading, writing
from billing_sync.store.packages import naming_of, unrecorded_uses
from metering.catalogue import Catalogue, Package, PackageItem, Product, catalogue
from metering.deltas import DeltaKey
from metering.usage import Grade
from metering.windows import HOUR_MS, Window, window_of
from tests.billing_sync.books import HOUR, METER, MINUTE, START, Books, package


def stopping(product_id: str, policy: str, quota: int = 10) -> Product:
    items = [PackageItem(of="TOKENS", quota=Decimal(quota))]
    terms = {"items": items, "stop_before_excess": True, "overshoot": policy}
    return Product(product_id=product_id, package=Package.model_validate(terms))


PRODUCTS = catalogue(
    [
        Product(product_id="TOKENS", meter=METER, unit=1000),
        Product(product_id="TOKENS-YEAR", meter=METER, unit=1000),
        Product(product_id="WORDS", meter=METER, unit=1000),
        package("PACK", 10),
        package("STOP", 10, stop=True),
        stopping("NEXT", "next_package"),
        stopping("PPU", "pay_per_use"),
        Product(
            product_id="BOTH",
            package=Package(
                items=[
                    PackageItem(of="TOKENS", quota=Decimal(10)),
                    PackageItem(of="WORDS", quota=Decimal("2.5")),
                ]
            ),
        ),
    ]
)


@pytest.fixture
def books(engine: Engine) -> Books:
    made = Books(engine, PRODUCTS)
    made.buy("i")
    return made


def callback(books: Books, instance_id: str, what: Event, **more: Any) -> None:
    """The marketplace's callback, received and committed now."""
    activity = {Event.REFRESH: Activity.REFRESH, Event.RELEASE: Activity.RELEASE}
    now_ms = books.clock.now_ms()
    told = LifecycleEvent(
        activity.get(what, Activity.STATUS), what, instance_id, sent_at=now_ms, body="", **more
    )
    with writing(books.engine) as session:
        answer = lifecycle.apply(session, told, now_ms)
    assert answer is not None
    assert answer.code == "000000"


def at(books: Books, minute: int, hour: int = 0) -> None:
    books.clock.time_ms = START + hour * HOUR_MS + minute * MINUTE


# --- when a package counts ------------------------------------------------------------------


def test_a_package_bought_in_the_middle_covers_what_comes_after(books: Books) -> None:
    """Not what was used before, also of the same hour."""
    books.use("i", 4000)
    at(books, 20)
    books.buy("pack", "PACK", started=books.clock.now_ms())
    books.use("i", 3000)
    assert books.given() == {("pack", "i"): 3000}


@pytest.mark.parametrize("product", ["PACK", "STOP"])
def test_late_usage_of_an_hour_before_the_purchase_is_not_covered(
    books: Books, product: str
) -> None:
    """It happened before the package was bought, whenever it arrives and wherever it is booked."""
    at(books, 20)
    books.close()
    books.buy("pack", product, started=books.clock.now_ms())
    books.use("i", 4000, window=HOUR - 1)
    books.use("i", 4000, window=HOUR - 3)
    assert books.given() == {}


def test_usage_of_the_hour_of_the_purchase_is_covered_when_it_comes_later(books: Books) -> None:
    """Of usage only its hour is known, and it may have happened after the purchase."""
    at(books, 20)
    books.buy("pack", "PACK", started=books.clock.now_ms())
    at(books, 5, hour=2)
    books.use("i", 4000, window=HOUR)
    assert books.given() == {("pack", "i"): 4000}


def test_a_package_gives_to_late_usage_of_its_time(books: Books) -> None:
    """Expired, frozen or released meanwhile: it was usable when the usage happened."""
    books.buy("expired", "PACK", expires=START + HOUR_MS)
    books.buy("frozen", "PACK")
    books.buy("released", "PACK")
    at(books, 0, hour=1)
    callback(books, "frozen", Event.FREEZE)
    callback(books, "released", Event.RELEASE)
    at(books, 30, hour=3)
    books.close()
    books.use("i", 25_000, window=HOUR)
    assert books.given() == {
        ("expired", "i"): 10_000,
        ("frozen", "i"): 10_000,
        ("released", "i"): 5000,
    }
    books.use("i", 1000)
    assert sum(books.given().values()) == 25_000


def test_a_frozen_package_gives_again_when_it_is_unfrozen(books: Books) -> None:
    """And never to what was used while it was frozen, however late that comes."""
    books.buy("pack", "PACK")
    callback(books, "pack", Event.FREEZE)
    books.use("i", 1000)
    at(books, 10, hour=2)
    callback(books, "pack", Event.UNFREEZE)
    books.use("i", 2000, window=HOUR + 1)
    assert books.given() == {}
    books.use("i", 4000)
    assert books.given() == {("pack", "i"): 4000}


def test_a_renewal_prolongs_what_is_left(books: Books) -> None:
    """The same instance with the same quota: what was used stays used."""
    books.buy("pack", "PACK", expires=START + HOUR_MS)
    books.use("i", 7000)
    at(books, 10, hour=2)
    books.use("i", 1000)  # expired
    order = {"order_id": "renewal", "order_line_id": "1", "scene": "RENEWAL"}
    callback(books, "pack", Event.REFRESH, expires=START + 9 * HOUR_MS, **order)
    books.use("i", 8000)
    assert books.given() == {("pack", "i"): 10_000}


def test_what_was_given_is_recorded_after_the_release(books: Books) -> None:
    """The rest lapses: later usage is pay-per-use, after the package's end."""
    books.buy("pack", "STOP", started=START - HOUR_MS)
    books.use("i", 4000)
    at(books, 20)
    callback(books, "pack", Event.RELEASE)
    books.use("i", 3000)
    books.to_the_next_hour()
    books.close()
    found = [(r.relate_pkg_instance, r.quantity) for r in books.records()]
    assert found == [("pack", 4000), ("", 3000)]
    (_, plain) = books.records()
    assert plain.end > START + 20 * MINUTE
    books.audit()


def test_an_expired_package_that_stops_goes_on_stopping(books: Books) -> None:
    """Until it is released: its buyer was promised not to be charged beyond it."""
    books.buy("pack", "STOP", started=START - HOUR_MS, expires=START + 20 * MINUTE)
    books.use("i", 4000)
    at(books, 30)
    books.use("i", 3000)
    assert books.given() == {("pack", "i"): 4000, (OVERSHOOT, "i"): 3000}


# --- whose quota ----------------------------------------------------------------------------


def test_each_billing_item_has_its_own_quota(books: Books) -> None:
    """Two products of one meter, charged by one call: neither uses up the other's."""
    books.buy("w", "WORDS")
    books.buy("pack", "BOTH")
    key = DeltaKey(Window(HOUR), "cust-1", "i", "chat", METER, Grade.EXACT)
    books.drain({key: 4000, key._replace(instance_id="w"): 4000})
    assert books.given() == {("pack", "i"): 4000, ("pack", "w"): 2500}


def test_the_quantity_of_the_order_multiplies_the_quota(books: Books) -> None:
    """linearValue of order query (spec §7.5)."""
    books.buy("pack", "BOTH", linear_value=3)
    books.buy("w", "WORDS")
    books.use("i", 99_000)
    books.use("w", 99_000)
    assert books.given() == {("pack", "i"): 30_000, ("pack", "w"): 7500}


def test_another_product_id_of_the_instance_does_not_refill_the_package(books: Books) -> None:
    """What was given for an item stays given, whatever the instance is called now."""
    books.buy("pack", "PACK")
    books.use("i", 8000)
    books.change("i", product_id="TOKENS-YEAR")
    books.buy("j")
    books.use("j", 8000)
    assert books.given() == {("pack", "i"): 8000, ("pack", "j"): 2000}


def test_thirty_packages_of_one_order(books: Books) -> None:
    """The one that expires first is used first, each to its last token."""
    for number in range(30):
        books.buy(f"p{number:02}", "STOP", expires=START + (40 - number) * HOUR_MS)
    for _ in range(7):
        books.use("i", 41_999)
    given = books.given()
    used = 7 * 41_999
    assert sum(given.values()) == used
    whole = [f"p{number:02}" for number in range(29, 0, -1)]
    assert [given[name, "i"] for name in whole] == [10_000] * 29
    assert given["p00", "i"] == used - 290_000
    books.to_the_next_hour()
    books.close()
    assert len(books.records()) == 30
    books.audit()


# --- overshoot ------------------------------------------------------------------------------


def test_overshoot_may_be_pay_per_use(books: Books) -> None:
    """Then its record names no package."""
    books.buy("pack", "PPU", started=START - HOUR_MS)
    books.use("i", 14_000)
    books.to_the_next_hour()
    books.close()
    found = [(r.relate_pkg_instance, r.quantity) for r in books.records()]
    assert found == [("pack", 10_000), ("", 4000)]
    assert books.buckets() == {}
    books.audit()


@pytest.mark.parametrize("closed", [False, True])
def test_overshoot_may_wait_for_the_next_package(books: Books, closed: bool) -> None:
    """Its records name the package that was bought later; until then it is in the bucket."""
    books.buy("first", "NEXT", started=START - HOUR_MS)
    books.use("i", 14_000)
    if closed:
        books.to_the_next_hour()
        books.close()
        assert books.buckets() == {"overshoot": 4000}
    books.audit()
    books.buy("second", "NEXT", started=books.clock.now_ms())
    books.use("i", 1000)
    assert books.given() == {("first", "i"): 10_000, ("second", "i"): 5000}
    books.audit_packages()
    books.to_the_next_hour()
    books.close()
    found = [(r.relate_pkg_instance, r.quantity, r.value) for r in books.records()]
    assert found == [("first", 10_000, "10.0000"), ("second", 5000, "5.0000")]
    assert sum(books.buckets().values()) == 0
    books.audit()


def test_what_waits_is_served_before_what_is_new(books: Books) -> None:
    """And goes on waiting for what the package does not hold."""
    books.buy("first", "NEXT")
    books.use("i", 22_000)
    books.buy("second", "STOP", started=books.clock.now_ms())
    books.use("i", 5000)
    expected = {("first", "i"): 10_000, ("second", "i"): 10_000, (WAITING, "i"): 2000}
    assert books.given() == expected | {(OVERSHOOT, "i"): 5000}
    books.audit_packages()


def test_what_waits_needs_no_new_usage(books: Books) -> None:
    """The close after the purchase deducts it."""
    books.buy("first", "NEXT")
    books.use("i", 14_000)
    books.to_the_next_hour()
    books.close()
    books.buy("second", "STOP", started=books.clock.now_ms())
    books.to_the_next_hour()
    books.close()
    assert books.given() == {("first", "i"): 10_000, ("second", "i"): 4000}
    books.audit_packages()


def test_ordinary_packages_are_no_place_to_wait_for(books: Books) -> None:
    """The marketplace deducts from those by itself, from plain records alone."""
    books.buy("first", "NEXT")
    books.use("i", 14_000)
    books.buy("pack", "PACK", started=books.clock.now_ms())
    books.use("i", 1000)
    assert books.given()[WAITING, "i"] == 4000
    assert books.given()["pack", "i"] == 1000


# --- in SQL ---------------------------------------------------------------------------------


def asked_by(engine: Engine, job: Callable[[], object]) -> list[str]:
    """The statements that a job sends."""
    asked: list[str] = []

    def note(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        asked.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    job()
    event.remove(engine, "before_cursor_execute", note)
    return asked


def drain_of(customers: int) -> dict[DeltaKey, int]:
    key = DeltaKey(Window(HOUR), "", "", "chat", METER, Grade.EXACT)
    return {
        key._replace(customer_id=f"c{n}", instance_id=f"c{n}-i", route=f"r{r}"): 10
        for n in range(customers)
        for r in range(3)
    }


def test_a_drain_asks_once_however_many_customers_it_has(books: Books) -> None:
    """Instances, packages, freezes, totals, versions and alerts: a question or two each."""
    for number in range(100):
        books.buy(f"c{number}-i", customer_id=f"c{number}")
        books.buy(f"c{number}-p", "PACK", customer_id=f"c{number}")
    few = asked_by(books.engine, lambda: books.drain(drain_of(1)))
    many = asked_by(books.engine, lambda: books.drain(drain_of(100)))
    assert len(many) <= len(few) < 25
    assert len(books.all(PackageTotal)) == 100


def test_a_balance_does_not_read_the_history(books: Books) -> None:
    """What a package gave is one total, however many hours it is from."""
    books.buy("pack", "PACK", linear_value=1000)
    for hour in range(20):
        at(books, 10, hour)
        books.use("i", 1)
    asked = asked_by(books.engine, lambda: books.use("i", 1))
    assert not [each for each in asked if each.startswith("SELECT") and "package_use" in each]
    assert [(row.item, row.quantity) for row in books.all(PackageTotal)] == [("TOKENS", 21)]


def test_the_close_may_ask_for_many_at_once(books: Books) -> None:
    """The slices of many instances, and the packages that are named, in a question each."""
    books.buy("j", customer_id="cust-2")
    books.buy("pack", "STOP")
    books.buy("theirs", "STOP", customer_id="cust-2")
    books.use("i", 12_000)
    books.use("j", 3000, customer_id="cust-2")
    now = window_of(books.clock.now_ms())
    with reading(books.engine) as session:
        uses = unrecorded_uses(session, ["i", "j", "k"], through_window=now)
        named = naming_of(session, ["cust-1", "cust-2"], PRODUCTS)
        assert unrecorded_uses(session, ["i"], through_window=now - 1) == {}
    assert uses == {
        ("i", now): {"pack": 10_000, OVERSHOOT: 2000},
        ("j", now): {"theirs": 3000},
    }
    assert {place: [b.package_id for b in held] for place, held in named.items()} == {
        ("cust-1", "TOKENS"): ["pack"],
        ("cust-2", "TOKENS"): ["theirs"],
    }


def test_usage_nobody_can_price_is_left_alone(books: Books) -> None:
    """A product that is not configured, another meter, no instance, no buyer as yet."""
    unknown: Catalogue = {name: PRODUCTS[name] for name in PRODUCTS if name != "TOKENS"}
    books.buy("pack", "PACK")
    books.buy("creating", customer_id="")
    books.use("i", 10, meter="requests")
    books.use("stranger", 10)
    books.use("", 10)
    books.use("creating", 10, customer_id="")
    books.catalogue = unknown
    books.use("i", 10)
    assert books.all(PackageUse) == []


def test_a_plain_record_reaches_out_of_the_life_of_a_package(books: Books) -> None:
    """Between the release of one and the purchase of the next: a record inside either would have to
    name it (spec §8.4), so the plain one gets the seconds."""
    books.buy("first", "STOP", started=START - HOUR_MS)
    books.use("i", 9000)
    at(books, 30)
    callback(books, "first", Event.RELEASE)
    at(books, 35)
    books.use("i", 1000)
    at(books, 40)
    books.buy("second", "STOP", started=books.clock.now_ms())
    books.use("i", 9000)
    books.to_the_next_hour()
    books.close()
    (plain,) = [record for record in books.records() if not record.relate_pkg_instance]
    assert plain.quantity == 1000
    assert plain.end > START + 30 * MINUTE
    assert plain.begin < START + 40 * MINUTE
    books.audit()
