"""What stands to be lost: by class of deadline, in records, billing units and money."""

from decimal import Decimal
from typing import Any

from sqlalchemy import Engine

from billing_sync.deadlines import EXPIRY_MS, Deadline
from billing_sync.store.engine import reading, writing
from billing_sync.watching import Risk, Terms, risks_at
from metering.catalogue import Band, Price, Product, catalogue
from metering.windows import HOUR_MS
from tests.billing_sync.books import METER, MINUTE, START
from tests.billing_sync.test_outbox import record

TERMS = Terms(
    catalogue(
        [
            Product(product_id="p", meter=METER, price=Price(unit_price=Decimal("0.02"))),
            Product(
                product_id="q", meter=METER, price=Price(unit_price=Decimal(3), currency="USD")
            ),
            Product(
                product_id="tiered",
                meter=METER,
                price=Price(mode="tier", bands=[Band(price=Decimal(9))]),
            ),
            Product(product_id="d", meter=METER, cycle="day"),
        ]
    )
)


def found(engine: Engine, now_ms: int) -> dict[Deadline, Risk]:
    with reading(engine) as session:
        return {risk.kind: risk for risk in risks_at(session, TERMS, now_ms)}


def add(engine: Engine, *given: dict[str, Any]) -> None:
    with writing(engine) as session:
        for number, columns in enumerate(given):
            session.add(record(f"r{number}", **columns))


def test_nothing_waits(engine: Engine) -> None:
    """Then there is no nearest deadline either."""
    add(engine, {"state": "sent"}, {"state": "collected"}, {"state": "confirmed"})
    for kind, risk in found(engine, START).items():
        assert risk == Risk(kind, 0, Decimal(0), 0, None, {})


def test_by_the_hour(engine: Engine) -> None:
    """Pending, held and sending records of an hour; those that are young are not at risk."""
    hour = {"begin": START, "end": START + HOUR_MS}
    add(
        engine,
        hour | {"value": "0.0001"},
        hour | {"value": "99999999.9999", "state": "held", "instance_id": "j"},
        hour | {"value": "1.5000", "state": "sending", "instance_id": "k", "product_id": "q"},
        hour | {"value": "7.0000", "instance_id": "l", "product_id": "tiered"},
        {"begin": START + HOUR_MS, "end": START + 2 * HOUR_MS, "value": "5.0000"},
    )
    now = START + HOUR_MS + 30 * MINUTE
    assert found(engine, now - 1)[Deadline.HOURLY].records == 0
    risk = found(engine, now)[Deadline.HOURLY]
    assert (risk.records, risk.passed, risk.seconds) == (4, 0, 5400)
    assert risk.units == Decimal("100000008.5000")
    assert risk.money == {"CNY": Decimal("2000000.000000"), "USD": Decimal("4.5000")}
    late = found(engine, START + 3 * HOUR_MS + 60_000)[Deadline.HOURLY]
    assert (late.records, late.passed, late.seconds) == (5, 4, -60)


def test_by_the_day(engine: Engine) -> None:
    """Until 01:00 in Beijing, whatever hour it was used in. START is 16:00 there."""
    add(
        engine,
        {"begin": START, "end": START + HOUR_MS, "product_id": "d"},
        {"begin": START + 8 * HOUR_MS, "end": START + 9 * HOUR_MS, "product_id": "d"},  # tomorrow's
    )
    before = found(engine, START + 8 * HOUR_MS)[Deadline.DAILY]
    assert (before.records, before.seconds) == (0, 3600)
    risk = found(engine, START + 8 * HOUR_MS + 30 * MINUTE)[Deadline.DAILY]
    assert (risk.records, risk.passed, risk.seconds) == (1, 0, 1800)
    assert found(engine, START)[Deadline.HOURLY].seconds is None


def test_before_the_marketplace_takes_it_no_more(engine: Engine) -> None:
    """Dead letters too, as long as they can be mended; what a person withheld is meant so."""
    begin = {"begin": START, "end": START + HOUR_MS}
    add(
        engine,
        begin | {"state": "rejected", "code": "MKT.9001"},
        begin | {"state": "rejected", "code": "withheld", "instance_id": "j"},
        begin | {"instance_id": "k"},
    )
    risk = found(engine, START + EXPIRY_MS - 60_000)[Deadline.EXPIRY]
    assert (risk.records, risk.passed, risk.seconds) == (2, 0, 60)
    over = found(engine, START + EXPIRY_MS)[Deadline.EXPIRY]
    assert (over.records, over.passed, over.seconds) == (1, 1, 0)
