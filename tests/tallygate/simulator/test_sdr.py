"""One record alone: fields, instance, times, package."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallygate.simulator.models import Instance, Kind, Product
from tallygate.simulator.sdr import (
    Refused,
    judge_instance,
    judge_times,
    read_sdr,
    read_usage,
)
from tests.tallygate.simulator.stage import NOW_MS, record

CHAT = Product("chat", "Chat", Kind.ON_DEMAND)
PACK = Product("pack", "Pack", Kind.ON_DEMAND_PKG, covers=frozenset({"chat"}))
MINUTE_MS, DAY_MS = 60_000, 86_400_000


def instance(product: Product = CHAT, instance_id: str = "i-1", **changes: Any) -> Instance:
    return replace(
        Instance(instance_id, "CS1", f"CS1-{instance_id}", product, "cust-1", NOW_MS), **changes
    )


def refused(**fields: object) -> str:
    with pytest.raises(Refused) as caught:
        read_sdr(record("i-1", 0, **fields))
    return str(caught.value)


def judged(received_ms: int = NOW_MS + MINUTE_MS, begin_s: int = 0, **fields: Any) -> str:
    """The refusal of a record against its instance, or nothing. `changes` are the instance's."""
    changes = fields.pop("changes", {})
    try:
        judge_times(read_sdr(record("i-1", begin_s, **fields)), instance(**changes), received_ms)
    except Refused as reason:
        return str(reason)
    return ""


@given(st.decimals("0.0001", "99999999.9999", places=4))
def test_usage_of_the_type(value):
    """Every positive Double(12,4) is read exactly, as a number and as text."""
    assert read_usage(value) == value
    assert read_usage(f"{value:f}") == value


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "0",
        "0.0000",
        "-1",
        "+1",
        "1e2",
        " 1",
        "1,5",
        "1_0",
        "NaN",
        "١",
        "1.",
        ".5",
        "0.00001",
        "1.00000",
        "100000000",
        "0" * 21,
        True,
        [],
        Decimal(0),
        Decimal(-1),
        Decimal("NaN"),
        Decimal("1e-9"),
        Decimal("1e99"),
        Decimal("99999999.99995"),
    ],
)
def test_usage_refused(value):
    """Nothing, zero, signs, exponents in text, a fifth decimal, and what is too large."""
    with pytest.raises(Refused):
        read_usage(value)


def test_good_record():
    """All of it is read."""
    sdr = read_sdr(record("i-1", relate_pkg_instance="p-1"))
    assert (sdr.begin_ms, sdr.end_ms) == (NOW_MS, NOW_MS + MINUTE_MS)
    assert (sdr.usage, sdr.metering_sn, sdr.package) == (Decimal("1.5"), "sn-i-1-0", "p-1")


@pytest.mark.parametrize("name", ["begin_time", "end_time", "record_time"])
def test_time_formats(name):
    """Another format is refused by name."""
    assert name in refused(**{name: "2026-09-21 14:13:20"})


@pytest.mark.parametrize("name", ["metering_sn", "relate_pkg_instance"])
@pytest.mark.parametrize("value", ["", "x" * 65, Decimal(7)])
def test_text_fields(name, value):
    """Text of 1 to 64 characters."""
    assert name in refused(**{name: value})


def test_instance_must_be_pay_per_use():
    """Neither an unknown instance nor a package takes usage."""
    assert judge_instance(instance()) == instance()
    for other in (None, instance(PACK)):
        with pytest.raises(Refused):
            judge_instance(other)


def test_times_in_order():
    """From the start of the resource to now is right, in the resolution of the wire."""
    assert judged() == ""
    assert judged(changes={"started_ms": NOW_MS + 999}) == ""
    assert judged(changes={"closed_ms": NOW_MS + MINUTE_MS}) == ""


@pytest.mark.parametrize(
    ("reason", "fields"),
    [
        ("before the start", {"begin_s": -1}),
        ("before the start", {"changes": {"started_ms": NOW_MS + 1000}}),
        ("after end_time", {"end_time": "20260921T141319Z"}),
        ("after record_time", {"end_time": "20260921T141421Z"}),
        ("in the future", {"received_ms": NOW_MS + MINUTE_MS - 1}),
        ("after the close", {"changes": {"closed_ms": NOW_MS + MINUTE_MS - 1}}),
        ("21 days", {"received_ms": NOW_MS + 21 * DAY_MS + 1}),
    ],
)
def test_times_out_of_order(reason, fields):
    """Each rule of §7.2 has its own refusal."""
    assert reason in judged(**fields)


def test_exactly_21_days():
    """The last moment still counts."""
    assert judged(received_ms=NOW_MS + 21 * DAY_MS) == ""
