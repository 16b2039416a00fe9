"""What is told of packages: never more than is left, in billing units."""

from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.quota_view import LimitNow, accounts_of, view
from metering.catalogue import Product, catalogue
from metering.entitlement import EntitledInstance, EntitlementSnapshot, InstanceStatus
from metering.lending import Balance, Part, account_of

NOW = 1_790_000_000_000
ACTIVE = InstanceStatus.ACTIVE


def package(product_id: str, *items: str, stops: bool = True) -> Product:
    parts = [{"of": item, "quota": 100} for item in items]
    document = {"product_id": product_id, "name": f"Name of {product_id}"}
    return Product.model_validate(
        document | {"package": {"items": parts, "stop_before_excess": stops}}
    )


PRODUCTS = catalogue(
    [
        Product(product_id="TOK", name="Tokens", meter="tokens_total", unit=1000),
        Product(product_id="IMG", meter="images"),
        package("PKG", "TOK", "IMG"),
        package("OLD", "TOK"),
        package("ORDINARY", "TOK", stops=False),
    ]
)
CUSTOMER = EntitlementSnapshot(
    "c",
    "",
    (),
    (
        EntitledInstance("i-tok", "TOK", ACTIVE),
        EntitledInstance("i-pkg", "PKG", ACTIVE, NOW + 1000),
        EntitledInstance("i-ord", "ORDINARY", ACTIVE),
        EntitledInstance("i-gone", "IMG", InstanceStatus.RELEASED),
        EntitledInstance("i-strange", "NOT SOLD ANY MORE", ACTIVE),
    ),
)
TOK, IMG = account_of("c", "TOK"), account_of("c", "IMG")


def seen(*balances: tuple[Balance, int], limits: tuple[LimitNow, ...] = ()) -> dict[str, Any]:
    return view(CUSTOMER, PRODUCTS, {each.account: (each, n) for each, n in balances}, limits, NOW)


def test_the_accounts_are_those_of_packages_that_stop() -> None:
    """One for each item; what is deducted elsewhere is not braked here."""
    assert {name: item.product_id for name, item in accounts_of(CUSTOMER, PRODUCTS).items()} == {
        TOK: "TOK",
        IMG: "IMG",
    }


def test_a_package_is_told_with_what_was_used() -> None:
    """In billing units of its item, when it ends, and how old the figures are."""
    balance = Balance(TOK, 3, NOW - 2000, (Part("i-pkg", 100_000, 94_050, NOW + 1000),))
    shown = seen((balance, 500))
    assert shown["packages"] == [
        {
            "package_id": "i-pkg",
            "product_id": "PKG",
            "name": "Name of PKG",
            "item": "TOK",
            "quota": "100.0000",
            "used": "5.9500",
            "remaining": "94.0500",
            "expires": "2026-09-21T14:13:21Z",
            "as_of": "2026-09-21T14:13:18Z",
        }
    ]
    assert shown["items"] == [
        {
            "item": "TOK",
            "name": "Tokens",
            "meter": "tokens_total",
            "unit": 1000,
            "remaining": "94.0500",
            "in_use": "0.5000",
            "as_of": "2026-09-21T14:13:18Z",
        }
    ]
    assert (shown["customer_id"], shown["at"]) == ("c", "2026-09-21T14:13:20Z")


def test_what_expired_is_not_left_to_anybody() -> None:
    """The ledger may not have said so yet."""
    parts = (Part("i-old", 1000, 1000, NOW), Part("i-pkg", 1000, 10, 0))
    shown = seen((Balance(TOK, 1, NOW, parts), 0))
    assert [each["package_id"] for each in shown["packages"]] == ["i-pkg"]
    assert shown["items"][0]["remaining"] == "0.0100"
    assert shown["packages"][0]["expires"] is None


def test_what_the_bank_does_not_know_is_left_out() -> None:
    """It is not zero."""
    assert (seen()["items"], seen()["packages"]) == ([], [])


def test_a_balance_of_somebody_else_is_never_told() -> None:
    """Whatever the store answers."""
    other = Balance(account_of("d", "TOK"), 1, NOW, (Part("i-d", 10, 10, 0),))
    assert seen((other, 0))["packages"] == []


def test_instances_are_told_as_they_stand() -> None:
    """Those that are released are gone."""
    assert [(each["instance_id"], each["status"]) for each in seen()["instances"]] == [
        ("i-tok", "active"),
        ("i-pkg", "active"),
        ("i-ord", "active"),
        ("i-strange", "active"),
    ]


def test_limits_are_told_as_they_are() -> None:
    """Whose, of what, and when they are whole again."""
    limit = LimitNow("customer", "requests", 10, 1, 7, 1)
    assert seen(limits=(limit,))["limits"] == [
        {"of": "customer", "kind": "requests", "limit": 10, "window_s": 1, "remaining": 7, "reset_s": 1}
    ]  # fmt: skip


@given(st.integers(0, 10**15), st.integers(-100, 10**15), st.integers(-100, 10**15))
def test_figures_add_up_and_never_promise_more(quota: int, left: int, held: int) -> None:
    """Whatever the ledger and the gateways say."""
    shown = seen((Balance(TOK, 1, NOW, (Part("i-pkg", quota, min(left, quota), 0),)), held))
    (told,), (item,) = shown["packages"], shown["items"]
    assert Decimal(told["used"]) + Decimal(told["remaining"]) == Decimal(told["quota"])
    assert Decimal(told["remaining"]) * 1000 <= max(0, min(left, quota))
    assert 0 <= Decimal(item["in_use"]) <= Decimal(item["remaining"])
