"""Who gets no licence, and by which code (spec §4.1)."""

from dataclasses import replace

import pytest

from billing_sync.koogallery.licence_fields import LicenceAsked
from billing_sync.licence_rules import SLACK_MS, Standing, refusal
from metering.catalogue import Licence, Product
from metering.entitlement import InstanceStatus

NOW = 1_790_000_000_000
YEAR = 365 * 86_400_000
ASKED = LicenceAsked("e", "i", NOW, NOW + YEAR, "fp")


def standing(licence: Licence | None = None, **fields: object) -> Standing:
    product = Product(product_id="LIC", licence=licence or Licence())
    known: dict[str, object] = {
        "status": InstanceStatus.ACTIVE,
        "product_id": "LIC",
        "product": product,
        "charging_mode": "PERIOD",
        "quantity": 2,
        "expires": NOW + YEAR,
    }
    return Standing(**(known | fields))  # type: ignore[arg-type]  # by name


def code(at: Standing, asked: LicenceAsked = ASKED, device: str = "d1") -> str:
    found = refusal(at, asked, device)
    return "" if found is None else found.code.value


def test_the_usual_case() -> None:
    """Nothing speaks against it."""
    assert code(standing()) == ""


def test_a_period_needs_its_end() -> None:
    """000902; what was bought once and for all needs none."""
    endless = replace(ASKED, expires=0)
    assert code(standing(), endless) == "000902"
    assert code(standing(charging_mode="ONE_TIME", expires=0), endless) == ""
    assert code(standing(charging_mode=""), endless) == ""


def test_a_fingerprint_may_be_needed() -> None:
    """000903, but not where the interface cannot tell one."""
    strict, nameless = standing(Licence(fingerprint="required")), replace(ASKED, fingerprint="")
    assert code(strict, nameless, "") == "000903"
    assert code(strict) == ""
    assert code(standing(), nameless, "") == ""
    assert code(strict, replace(nameless, by_reply=True), "") == ""


@pytest.mark.parametrize(
    ("fields", "asked"),
    [
        ({"status": InstanceStatus.FROZEN}, {}),
        ({"expires": NOW}, {}),
        ({}, {"expires": NOW + YEAR + SLACK_MS + 1}),
    ],
)
def test_outside_the_orders_validity(fields: dict[str, object], asked: dict[str, int]) -> None:
    """000901."""
    assert code(standing(**fields), replace(ASKED, **asked)) == "000901"  # type: ignore[arg-type]


def test_the_orders_end_is_told_roughly() -> None:
    """A day more is no reason, nor an end that nobody knows."""
    assert code(standing(), replace(ASKED, expires=NOW + YEAR + SLACK_MS)) == ""
    assert code(standing(expires=0), replace(ASKED, expires=NOW + 9 * YEAR)) == ""


def test_so_many_devices_a_unit() -> None:
    """000900 for one too many; a device that has one gets another, as after a renewal."""
    at = standing(Licence(devices=1), devices=frozenset({"d1", "d2"}))
    assert code(at, device="d3") == "000900"
    assert code(at, device="d1") == ""
    assert code(replace(at, quantity=3), device="d3") == ""
    assert code(standing(devices=frozenset(map(str, range(99))))) == ""


@pytest.mark.parametrize(
    "product",
    [None, Product(product_id="LIC"), Product(product_id="LIC", licence=Licence(kind="code"))],
)
def test_what_is_no_licence_that_we_make(product: Product | None) -> None:
    """000005: somebody has to configure it, and then a repeat succeeds."""
    assert code(standing(product=product)) == "000005"
