"""What use of today is worth: to the last digit, under each kind of price."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_sync.estimating import Estimate, Used, estimate
from metering.catalogue import Band, Price, Product, catalogue


def price(mode: str, **more: object) -> Price:
    bands = [Band(up_to=Decimal(10), price=Decimal(2)), Band(price=Decimal(1))]
    return Price.model_validate({"mode": mode, "bands": bands, **more})


def product(price: Price | None, **more: object) -> Product:
    columns = {"product_id": "P", "meter": "m", "unit": 1000, "price": price, **more}
    return Product.model_validate(columns)


def worth(sold: Product, *used: tuple[str, int, int], before: int = 0) -> Estimate:
    rows = [Used("P", instance, window, quantity) for instance, window, quantity in used]
    return estimate(catalogue([sold]), rows, {("P", "i"): before})


@pytest.mark.parametrize(
    ("sold", "money"),
    [
        (product(Price(unit_price=Decimal("0.02"))), "0.48"),
        (product(price("step")), "44"),  # (10·2 + 2) twice: each hour by itself
        (product(price("step"), cycle="day"), "34"),  # 24 at once
        (product(price("step", accumulate="day")), "34"),
        (product(price("tier")), "24"),  # each hour falls into the second band
        (product(price("tier"), cycle="day"), "24"),
    ],
)
def test_prices(sold: Product, money: str) -> None:
    """Two hours of twelve units each."""
    found = worth(sold, ("i", 1, 12_000), ("i", 2, 12_000))
    assert found.by_currency == {"CNY": Decimal(money)}
    assert found.money == {"P": Decimal(money)}
    assert found.units["P"] == 24


def test_a_month_goes_on() -> None:
    """What was used before today has filled the first band."""
    sold = product(price("step", accumulate="month"))
    assert worth(sold, ("i", 1, 5000), before=8000).money["P"] == 2 * 2 + 3
    assert worth(sold, ("other", 1, 5000), before=8000).money["P"] == 10


def test_instances_have_bands_of_their_own() -> None:
    """Two customers share none."""
    sold = product(price("step", accumulate="day"))
    assert worth(sold, ("i", 1, 10_000), ("k", 1, 10_000)).money["P"] == 40


def test_what_has_no_price() -> None:
    """Is named, not worth nothing."""
    found = worth(product(None), ("", 0, 1500))
    assert (found.units, found.money) == ({"P": Decimal("1.5")}, {})
    assert found.unpriced == {"P"}


def test_what_others_charge_for() -> None:
    """Is no revenue of ours; nor is a product that is not sold any more."""
    sold = product(Price(unit_price=Decimal(1)), charged_by="agents_gateway")
    assert worth(sold, ("", 0, 1000)) == Estimate()
    assert estimate({}, [Used("P", "", 0, 1)], {}) == Estimate()


@given(st.lists(st.integers(0, 10**15), min_size=1, max_size=5))
def test_nothing_is_rounded(quantities: list[int]) -> None:
    """Money is units times price, whatever the size."""
    sold = product(Price(unit_price=Decimal("0.0123456789")))
    found = worth(sold, *[("", 0, quantity) for quantity in quantities])
    assert found.money["P"] == found.units["P"] * Decimal("0.0123456789")
