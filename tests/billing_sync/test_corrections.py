"""What may be adjusted and assigned, and what is refused with a word of advice."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_sync.corrections import (
    MOST_CARRY,
    MOST_UNITS,
    AdjustmentAsked,
    AssignmentAsked,
    adjustable,
    assignable,
    check_adjustment,
    check_assignment,
    check_carry,
    meter_units,
    refuse_other,
)
from billing_sync.errors import CorrectionRefused
from metering.catalogue import Product, catalogue
from tests.billing_sync.books import METER
from tests.billing_sync.correcting import SELLING


@dataclass
class Thing:
    """An instance."""

    customer_id: str = "cust-1"
    product_id: str = "TOKENS"
    is_package: bool = False
    status: str = "active"
    source: str = "koogallery"


def asked(**said: Any) -> AdjustmentAsked:
    given = {"id": "a", "instance_id": "i", "author": "li", "reason": "because"}
    return AdjustmentAsked(**(given | said))


def wanted(**said: Any) -> AssignmentAsked:
    given = {"id": "a", "customer_id": "cust-1", "instance_id": "i", "author": "li", "reason": "r"}
    return AssignmentAsked(**(given | said))


def product(unit: int) -> Product:
    return Product(product_id="P", meter=METER, unit=unit)


@pytest.mark.parametrize("name", ["id", "instance_id", "author", "reason"])
@pytest.mark.parametrize("text", ["", " ", "a\nb", "x" * 501, "\x1f"])
def test_every_text_is_there_and_bounded(name: str, text: str) -> None:
    """The refusal names it."""
    with pytest.raises(CorrectionRefused, match=name.removesuffix("_id")):
        check_adjustment(asked(quantity=1, **{name: text}))
    with pytest.raises(CorrectionRefused, match=name.removesuffix("_id")):
        check_assignment(wanted(**{name: text}))


@pytest.mark.parametrize("said", [{}, {"quantity": 1, "value": Decimal(1)}])
def test_one_size_and_not_two(said: dict[str, Any]) -> None:
    """Neither none nor both."""
    with pytest.raises(CorrectionRefused, match="either"):
        check_adjustment(asked(**said))


@pytest.mark.parametrize("quantity", [0, -1, MOST_UNITS + 1])
def test_an_assignment_takes_something(quantity: int) -> None:
    """Nothing is assigned backwards."""
    with pytest.raises(CorrectionRefused, match="tallygate adjust add"):
        check_assignment(wanted(quantity=quantity))


@pytest.mark.parametrize(
    ("columns", "word"),
    [
        ({"customer_id": ""}, "no instance"),
        ({"is_package": True}, "package"),
        ({"product_id": ""}, "not configured"),
        ({"product_id": "UNHEARD-OF"}, "not configured"),
        ({"product_id": "PACK"}, "not configured"),
        ({"product_id": "THEIRS"}, "own gateway"),
        ({"source": "static"}, "configuration"),
        ({"status": "released"}, "last record"),
    ],
)
def test_what_no_record_will_carry_is_not_adjusted(columns: dict[str, Any], word: str) -> None:
    """Nor what is unknown."""
    with pytest.raises(CorrectionRefused, match=word):
        adjustable("i", Thing(**columns), SELLING, unrecorded=False)
    with pytest.raises(CorrectionRefused, match="no instance"):
        adjustable("i", None, SELLING, unrecorded=False)


def test_until_its_last_record_a_released_instance_is_adjusted() -> None:
    """Its last record nets it."""
    found = adjustable("i", Thing(status="released"), SELLING, unrecorded=True)
    assert found.product_id == "TOKENS"


@pytest.mark.parametrize(
    ("columns", "word"),
    [
        ({"customer_id": "cust-2"}, "another customer"),
        ({"status": "released"}, "is released"),
        ({"status": "creating"}, "is creating"),
        ({"is_package": True}, "package"),
        ({"product_id": "THEIRS"}, "own gateway"),
    ],
)
def test_only_a_billable_instance_of_the_customer_is_charged(
    columns: dict[str, Any], word: str
) -> None:
    """Not somebody else's."""
    with pytest.raises(CorrectionRefused, match=word):
        assignable(wanted(), Thing(**columns), SELLING)


@pytest.mark.parametrize("columns", [{}, {"status": "frozen"}, {"source": "static"}])
def test_these_may_be_charged(columns: dict[str, Any]) -> None:
    """A frozen one is billed for what it used; one of the configuration is shown it."""
    assert assignable(wanted(), Thing(**columns), SELLING).product_id == "TOKENS"


@pytest.mark.parametrize(
    ("text", "unit", "units"),
    [("1.5", 1000, 1500), ("-0.0001", 10_000, -1), ("2E+1", 1, 20), ("-3", 7, -21)],
)
def test_billing_units_become_meter_units(text: str, unit: int, units: int) -> None:
    """Exactly."""
    assert meter_units(asked(value=Decimal(text)), product(unit)) == units


@pytest.mark.parametrize(
    ("text", "unit", "word"),
    [
        ("0", 1000, "changes nothing"),
        ("0.5", 1, "no whole number"),
        ("0.00001", 1000, "four decimals"),
        ("1.00000000000000000000000000000000000001", 1000, "four decimals"),
        ("100000000", 1, "between"),
        ("1E+999999", 1, "between"),
        ("NaN", 1, "between"),
        ("-Infinity", 1, "between"),
        ("99999999", 10**9, "at most"),
    ],
)
def test_values_that_make_no_sense(text: str, unit: int, word: str) -> None:
    """Are refused, not rounded."""
    with pytest.raises(CorrectionRefused, match=word):
        meter_units(asked(value=Decimal(text)), product(unit))


@pytest.mark.parametrize(
    ("quantity", "unit"), [(0, 1), (100_000_000, 1), (-100_000_000, 1), (MOST_UNITS + 1, 10**9)]
)
def test_daft_quantities(quantity: int, unit: int) -> None:
    """More than a record can say, or than the ledger takes."""
    with pytest.raises(CorrectionRefused):
        meter_units(asked(quantity=quantity), product(unit))


@given(
    st.decimals(-(10**8) + 1, 10**8 - 1, places=4, allow_nan=False),
    st.integers(1, 10**6),
)
def test_a_value_is_taken_exactly_or_not_at_all(value: Decimal, unit: int) -> None:
    """Never a unit more or less."""
    try:
        units = meter_units(asked(value=value), product(unit))
    except CorrectionRefused:
        exact = value * unit
        assert exact != int(exact) or not exact or abs(exact) > MOST_UNITS
    else:
        assert Decimal(units) == value * unit


def test_the_remainder_stays_within_a_column() -> None:
    """However many adjustments come together."""
    check_carry("i", MOST_CARRY)
    with pytest.raises(CorrectionRefused, match="no more fits"):
        check_carry("i", -MOST_CARRY - 1)


def test_an_id_says_one_thing() -> None:
    """And how it is taken back is said."""
    refuse_other("a", [])
    with pytest.raises(CorrectionRefused, match="opposite sign"):
        refuse_other("a", ["quantity"])


def test_a_product_without_a_meter_is_not_configured() -> None:
    """Nobody could say what a unit is."""
    bare = catalogue([Product(product_id="TOKENS")])
    with pytest.raises(CorrectionRefused, match="not configured"):
        adjustable("i", Thing(), bare, unrecorded=False)
