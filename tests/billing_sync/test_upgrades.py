"""Whose usage it is when the product changed on the way."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_sync.upgrades import Change, Tenure, in_force, remainder_key, tenure_of, tenures
from metering.windows import HOUR_MS

METERS = {"A": "tokens", "B": "tokens", "C": "calls"}
AT = 100 * HOUR_MS + 5


def whose(changes: list[Change], origin: int, meter: str = "tokens", now: str = "B") -> str:
    """The product that usage belongs to."""
    return tenure_of(tenures(now, changes), origin, meter, METERS.get).product_id


def test_without_an_upgrade_there_is_one_product() -> None:
    """Also for usage by another meter, of which nobody knows the price."""
    assert tenures("A", []) == [Tenure("A")]
    assert whose([], 7, "calls", "A") == "A"


@pytest.mark.parametrize(
    ("settled", "expected"), [(False, ["A", "A", "B"]), (True, ["A", "B", "B"])]
)
def test_the_hour_of_the_upgrade(settled: bool, expected: list[str]) -> None:
    """It is the old product's until its last interval was cut, then the new one's."""
    changes = [Change(AT, "A", settled)]
    assert [whose(changes, origin) for origin in (99, 100, 101)] == expected


def test_the_meter_tells_them_apart() -> None:
    """Usage by the old product's meter is the old product's, however late it was counted."""
    changes = [Change(AT, "A", True)]
    assert whose(changes, 100, "tokens", "C") == "A"
    assert whose(changes, 300, "tokens", "C") == "A"
    assert whose([Change(AT, "A", False)], 100, "calls", "C") == "C"
    assert whose(changes, 300, "images", "C") == "C"


def test_one_upgrade_after_the_other() -> None:
    """Each has its hours, and ends where the next begins."""
    changes = [Change(AT, "A", True), Change(AT + 5 * HOUR_MS, "B", False)]
    assert [whose(changes, o, now="A") for o in (99, 100, 104, 105, 106)] == [*"ABBBA"]
    assert [(t.begins, t.ends) for t in tenures("A", changes)] == [
        (0, AT),
        (AT, AT + 5 * HOUR_MS),
        (AT + 5 * HOUR_MS, 0),
    ]
    assert in_force(tenures("A", changes)).product_id == "B"


@pytest.mark.parametrize(
    ("product", "current", "key"),
    [("A", "A", "p"), ("A", "B", "p"), ("A", "C", "p!A"), ("X", "C", "p!X"), ("X", "X", "p")],
)
def test_remainders_of_one_meter_only_are_added_up(product: str, current: str, key: str) -> None:
    """The others stand apart."""
    assert remainder_key("p", product, current, METERS.get) == key


@given(st.lists(st.booleans(), max_size=4), st.integers(95, 115), st.sampled_from(["tokens", "x"]))
def test_all_usage_is_somebodys(settled: list[bool], origin: int, meter: str) -> None:
    """Exactly one tenure, and it is one of the instance's."""
    changes = [Change(AT + n * HOUR_MS, "ABC"[n % 3], over) for n, over in enumerate(settled)]
    held = tenures("B", changes)
    assert tenure_of(held, origin, meter, METERS.get) in held
    assert in_force(held) in held
