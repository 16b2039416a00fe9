"""The checks on queryInstance's info, both ways."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallygate.simulator.checks import Reply
from tallygate.simulator.info_checks import Asked, check_info, entry_of, wrong_usage_value
from tests.tallygate.simulator.stage import NOW_MS, info

METERED = Asked("i-1", metered=True)
PACKAGE = Asked("i-1", metered=True, related=frozenset({"i-2"}))


def reply(value: Any, *, ascii_only: bool = True) -> Reply:
    content = json.dumps({"info": value}, ensure_ascii=ascii_only).encode()
    return Reply(200, "application/json", content, 1)


def checks(value: Any, *asked: Asked, **options: bool) -> list[str]:
    return [found.check for found in check_info(reply(value, **options), asked, NOW_MS)]


def app(**changes: object) -> list[dict[str, object]]:
    return [{**info("i-1"), "appInfo": {"frontEndUrl": "https://a", **changes}}]


def test_good_info():
    """A full entry, and one without the optional parts."""
    assert checks([info("i-1")], METERED) == []
    assert checks([{"instanceId": "i-1"}], Asked("i-1")) == []
    assert checks([info("i-1"), info("i-2")], METERED, Asked("i-2")) == []


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, ["info"]),
        ({}, ["info"]),
        ([], ["info"]),
        ([7, info("i-1")], ["info"]),
        ([info("i-1"), info("i-1")], ["info"]),
        ([info("i-1"), info("i-9")], ["info"]),
        ([info("i-1"), {}], ["field"]),
        ([{"instanceId": "i-1"}], ["info"]),
        ([{"instanceId": "i-1", "usageInfo": {}}], ["info"]),
        ([{"instanceId": "i-1", "usageInfo": []}], ["info"]),
        ([{"instanceId": "i-1", "usageInfo": [7]}], ["info"]),
        ([{**info("i-1"), "appInfo": "x"}], ["info"]),
        (app(frontEndUrl=None), ["field"]),
        (app(frontEndUrl=""), ["field"]),
        (app(frontEndUrl="x" * 513), ["field"]),
        (app(adminUrl="x" * 513), ["field"]),
        (app(userName="x" * 129), ["field"]),
        (app(password="x" * 129), ["field"]),
        (app(password=7), ["field"]),
        (app(memo="x" * 1025), ["field"]),
        ([info("i-1", usageValue=None)], ["usage-value"]),
        ([info("i-1", statisticalTime=None)], ["statistical-time"]),
        ([info("i-1", statisticalTime="20260921141300")], ["statistical-time"]),
        ([info("i-1", statisticalTime="20260921T141300Z")], ["statistical-time"]),
        ([info("i-1", dashboardUrl="x" * 513)], ["field"]),
        ([info("i-1", relatedInstanceId="x" * 65)], ["field"]),
    ],
)
def test_each_check(value, expected):
    """One mistake, one finding."""
    assert checks(value, METERED) == expected


def test_local_time_is_found():
    """A statisticalTime eight hours ahead is Beijing time, not UTC."""
    assert checks([info("i-1", statisticalTime="20260921221300000")], METERED) == [
        "statistical-time"
    ]


def test_package_names_its_pay_per_use_instances():
    """Each entry of a package says whose usage it is, and only of this buyer's instances."""
    assert checks([info("i-1", relatedInstanceId="i-2")], PACKAGE) == []
    assert checks([info("i-1", relatedInstanceId="i-3")], PACKAGE) == ["related-instance"]
    assert checks([info("i-1")], PACKAGE) == ["related-instance"]


def test_package_without_anything_to_relate():
    """Before the buyer has a pay-per-use instance a package has no entries."""
    alone = Asked("i-1", metered=True, related=frozenset())
    assert checks([{"instanceId": "i-1", "usageInfo": []}], alone) == []


def test_memo_is_escaped():
    """Chinese text of memo goes as escapes."""
    assert checks(app(memo="用法"), METERED) == []
    assert checks(app(memo="用法"), METERED, ascii_only=False) == ["field"]


@given(st.decimals(0, 99_999_999, places=4))
def test_double_12_4(value):
    """Every number of the type is right, as a number and as text."""
    assert wrong_usage_value(value) == ""
    assert wrong_usage_value(f"{value:f}") == ""


@pytest.mark.parametrize(
    "value", [True, "", "1e3", "-1", "1_0", " 1", "1.00000", "100000000", -2, 10**9, [], "9" * 21]
)
def test_not_double_12_4(value):
    """Signs, exponents, a fifth decimal, and what is too large."""
    assert wrong_usage_value(value)


def test_binary_fraction_is_found():
    """0.1 + 0.2 written as a float has too many decimals."""
    assert checks([info("i-1", usageValue=0.1 + 0.2)], METERED) == ["usage-value"]


def test_entry_of():
    """The entry asked for, or None."""
    assert entry_of(reply([info("i-1")]), "i-1") is not None
    assert entry_of(reply([info("i-1")]), "i-2") is None
    assert entry_of(reply(None), "i-1") is None
