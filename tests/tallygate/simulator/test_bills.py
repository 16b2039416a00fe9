"""Bills: what was charged, by instance and cycle."""

import json
from dataclasses import replace
from decimal import Decimal

from tallygate.simulator.bills import Bill
from tallygate.simulator.marketplace import Marketplace
from tallygate.simulator.models import Instance, Kind, OrderLine, Product
from tallygate.simulator.prices import Band, Mode, Period, ladder
from tallygate.simulator.times import format_record_time
from tallygate.simulator.usage import Rules

HOUR_MS = 3_600_000
START_MS = 1_790_000_000_000 // HOUR_MS * HOUR_MS
BANDS = [Band(Decimal(3), Decimal("0.3")), Band(None, Decimal("0.2"))]
CHAT = Product("chat", "Chat", Kind.ON_DEMAND, price=ladder(Mode.TIER, BANDS))


def market(product: Product = CHAT, quota: str = "0") -> Marketplace:
    made = Marketplace(Rules(collect_at_minute=15))
    made.advance(START_MS)
    pack = Product("pack", "Pack", Kind.ON_DEMAND_PKG, quotas={"chat": Decimal(quota)})
    pack = replace(pack, covers=frozenset(pack.quotas))
    for name, sold in (("i-1", product), ("p-1", pack)):
        made.provision(Instance(name, "CS1", f"CS1-{name}", sold, "cust-1", START_MS))
    return made


def use(made: Marketplace, hour: int, *parts: str) -> None:
    """Reports this usage of the hour, cut into as many records as there are parts, in time."""
    begin_ms, end_ms = START_MS + hour * HOUR_MS, START_MS + (hour + 1) * HOUR_MS
    length_ms = HOUR_MS // len(parts)
    records = [
        {
            "begin_time": format_record_time(begin_ms + number * length_ms),
            "end_time": format_record_time(begin_ms + (number + 1) * length_ms),
            "instance_id": "i-1",
            "metering_sn": f"{hour}-{number}",
            "record_time": format_record_time(end_ms),
            "usage_value": part,
        }
        for number, part in enumerate(parts)
    ]
    made.store(records, end_ms + 600_000)


def billed(made: Marketplace) -> list[Bill]:
    made.advance(START_MS + 1000 * HOUR_MS)
    return made.bills()


def test_splitting_matters_with_tiers():
    """One record of 8 costs 1.60; as 3 and 5 the same usage costs 1.90."""
    whole, split = market(), market()
    use(whole, 0, "8")
    use(split, 0, "3", "5")
    [one], [two] = billed(whole), billed(split)
    assert [one.charged, two.charged] == [Decimal(8), Decimal(8)]
    assert (one.amount, two.amount) == (Decimal("1.6"), Decimal("1.9"))


def test_splitting_does_not_matter_with_steps():
    """They accumulate over their period, from record to record."""
    step = replace(CHAT, price=ladder(Mode.STEP, BANDS, Period.DAY))
    whole, split = market(step), market(step)
    use(whole, 0, "8")
    use(split, 0, "3", "5")
    assert [bill.amount for bill in billed(whole) + billed(split)] == [Decimal("1.9")] * 2


def test_steps_begin_anew_with_the_period():
    """By the hour: the same price each hour. By the month: later hours are in the upper band."""
    amounts = []
    for period in (Period.HOUR, Period.MONTH):
        made = market(replace(CHAT, price=ladder(Mode.STEP, BANDS, period)))
        for hour in range(3):
            use(made, hour, "2")
        amounts.append([bill.amount for bill in billed(made)])
    assert amounts[0] == [Decimal("0.6")] * 3
    assert amounts[1] == [Decimal("0.6"), Decimal("0.5"), Decimal("0.4")]


def test_package_pays_first():
    """The excess is pay-per-use, at its own price."""
    made = market(quota="10")
    use(made, 0, "8")
    use(made, 1, "8")
    first, second = billed(made)
    assert (first.deducted, first.charged, first.amount) == (
        {"p-1": Decimal(8)},
        Decimal(0),
        Decimal(0),
    )
    assert (second.deducted, second.charged) == ({"p-1": Decimal(2)}, Decimal(6))
    assert second.amount == Decimal("1.2")
    assert all(bill.usage == bill.charged + sum(bill.deducted.values()) for bill in billed(made))


def test_cycle_and_late_records():
    """A late record is charged with the cycle of its collection, and counted as late."""
    made = market()
    use(made, 1, "1")
    made.store([{**made.records[0].record, **_first_hour(), "metering_sn": "late"}], _late_ms())
    [bill] = billed(made)
    assert (bill.records, bill.late, bill.usage) == (2, 1, Decimal(2))
    assert (bill.cycle_start_ms, bill.cycle_end_ms) == (START_MS + HOUR_MS, START_MS + 2 * HOUR_MS)


def _first_hour() -> dict[str, str]:
    return {
        "begin_time": format_record_time(START_MS),
        "end_time": format_record_time(START_MS + HOUR_MS),
    }


def _late_ms() -> int:
    return START_MS + 2 * HOUR_MS + 660_000


def test_upgrade_makes_two_bills():
    """Usage of before and after has each its own product and price."""
    made = market()
    flat = replace(CHAT, product_id="flat", price=ladder(Mode.FIXED, [Band(None, Decimal(1))]))
    use(made, 0, "1", "1")
    made.instance("i-1").become(OrderLine("CS2-000001", flat), START_MS + HOUR_MS // 2)
    shown = [(bill.product_id, bill.amount) for bill in billed(made)]
    assert shown == [("chat", Decimal("0.3")), ("flat", Decimal(1))]


def test_product_without_a_price():
    """Quantities and no amount; all of it is JSON."""
    made = market(replace(CHAT, price=None))
    use(made, 0, "1.5000")
    [bill] = billed(made)
    shown = json.loads(json.dumps(bill.as_json()))
    assert (shown["amount"], shown["usage"], shown["deducted"]) == (None, "1.5000", {})
