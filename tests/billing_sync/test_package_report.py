from decimal import Decimal
from typing import Any

import pytest

from billing_sync.models import Instance
from billing_sync.package_report import ItemFigures, PackageFigures, shown
from metering.catalogue import Package, PackageItem

TERMS = Package(
    items=[PackageItem(of="TOKENS", quota=Decimal(10))],
    stop_before_excess=True,
    overshoot="next_package",
)


def row(items: list[ItemFigures], terms: Package | None = TERMS, **columns: Any) -> dict[str, Any]:
    package = Instance(id="p", customer_id="c", product_id="P", started=1, **columns)
    return shown(PackageFigures(package, terms, items), 100)


def figures(used: int, **more: int) -> ItemFigures:
    return ItemFigures("TOKENS", 1000, 10_000, {"i": used}, **more)


def test_an_item_in_billing_units() -> None:
    """As text, with what each instance got."""
    (item,) = row([figures(4567, overshoot=3000, waiting=1000)])["items"]
    assert item == {
        "product_id": "TOKENS",
        "quota": "10.0000",
        "used": "4.5670",
        "left": "5.4330",
        "lapsed": "0.0000",
        "overshoot": "3.0000",
        "waiting": "1.0000",
        "used_by": {"i": "4.5670"},
    }


@pytest.mark.parametrize(
    ("columns", "left"),
    [
        ({}, "6.0000"),
        ({"expires": 101}, "6.0000"),
        ({"expires": 100}, "0.0000"),
        ({"released": 100, "status": "released"}, "0.0000"),
        ({"status": "frozen"}, "6.0000"),
    ],
)
def test_what_is_left_lapses_with_the_package(columns: dict[str, Any], left: str) -> None:
    """When it has expired or is released; frozen it can come back."""
    (item,) = row([figures(4000)], **columns)["items"]
    assert item["left"] == left
    assert Decimal(item["left"]) + Decimal(item["lapsed"]) == 6


def test_a_product_that_is_sold_no_more() -> None:
    """Shows what was given, and no quota."""
    found = row([ItemFigures("TOKENS", 1, None, {"i": 5})], None)
    assert (found["stop_before_excess"], found["policy"]) == (False, None)
    (item,) = found["items"]
    assert (item["quota"], item["used"], item["left"]) == (None, "5.0000", None)


def test_a_quota_that_shrank_leaves_nothing() -> None:
    """Not less: the configuration was changed below what was given."""
    (item,) = row([ItemFigures("TOKENS", 1, 3, {"i": 5})])["items"]
    assert (item["quota"], item["used"], item["left"]) == ("3.0000", "5.0000", "0.0000")
