"""Products and order lines read from JSON."""

from decimal import Decimal
from typing import Any

import pytest

from tallygate.simulator.errors import BadRequest
from tallygate.simulator.models import Cycle, Item, Kind
from tallygate.simulator.offers import read_item, read_product
from tallygate.simulator.prices import Band, Mode, Period
from tests.tallygate.simulator.stage import NOW_MS


def product(**fields: Any) -> dict[str, object]:
    return {"product_id": "chat", **fields}


def test_everything_about_a_product():
    """Quotas are of what it covers; prices keep their digits."""
    bands = [{"up_to": "3", "unit_price": "0.30"}, {"unit_price": "0.2"}]
    price = {"mode": "tier", "bands": bands, "period": "day"}
    read = read_product(
        product(kind="ON_DEMAND_PKG", quotas={"chat": "100.5"}, cycle="day", price=price)
    )
    assert (read.kind, read.cycle) == (Kind.ON_DEMAND_PKG, Cycle.DAY)
    assert read.covers == frozenset({"chat"})
    assert read.quotas == {"chat": Decimal("100.5")}
    assert read.price is not None
    assert (read.price.mode, read.price.period) == (Mode.TIER, Period.DAY)
    assert read.price.bands[0] == Band(Decimal(3), Decimal("0.30"))


def test_defaults():
    """Pay-per-use by the hour without a price; a fixed price is one number."""
    read = read_product(product())
    assert (read.kind, read.cycle, read.price) == (Kind.ON_DEMAND, Cycle.HOUR, None)
    fixed = read_product(product(price={"unit_price": "0.02"})).price
    assert fixed is not None
    assert fixed.amount(Decimal(5)) == Decimal("0.10")


@pytest.mark.parametrize(
    "fields",
    [
        {"cycle": "week"},
        {"quotas": ["chat"]},
        {"quotas": {"chat": 0.1}},
        {"quotas": {"chat": "-1"}},
        {"quotas": {"chat": "NaN"}},
        {"quotas": {"chat": "much"}},
        {"quotas": {"chat": True}},
        {"quotas": {"chat": "1" * 21}},
        {"price": "0.02"},
        {"price": {}},
        {"price": {"mode": "best", "unit_price": "1"}},
        {"price": {"mode": "tier", "bands": [{"up_to": "1", "unit_price": "1"}]}},
        {"price": {"mode": "tier", "bands": [{"upto": "1", "unit_price": "1"}]}},
        {"price": {"bands": [{"up_to": "1"}]}},
        {"price": {"unit_price": "1", "period": "year"}},
    ],
    ids=str,
)
def test_bad_products(fields):
    """A clear refusal."""
    with pytest.raises(BadRequest):
        read_product(product(**fields))


def test_lines():
    """Expiry and quantity are optional."""
    assert read_item(product()) == Item("chat")
    line = product(expire_time="20260921141320", linear_value=3)
    assert read_item(line) == Item("chat", NOW_MS, 3)
    for wrong in ({"linear_value": 0}, {"linear_value": "3"}, {"expire_time": "soon"}):
        with pytest.raises(BadRequest):
            read_item(product(**wrong))
