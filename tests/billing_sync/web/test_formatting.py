"""How numbers and times are written: no digit is lost, none is made up."""

from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_sync.web.formatting import Times, money, number, span_of, trimmed, utc

SHANGHAI = Times(ZoneInfo("Asia/Shanghai"))
AT = 1_790_000_000_000  # 2026-09-21T14:13:20Z


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (1234567, "1,234,567"),
        (-1234, "−1,234"),
        ("99999999.9999", "99,999,999.9999"),
        ("1000.0000", "1,000.0000"),
        (Decimal("1E+3"), "1,000"),
        (2**63, "9,223,372,036,854,775,808"),
        (None, "–"),
        ("abc", "abc"),
    ],
)
def test_numbers(value: int | str | Decimal | None, text: str) -> None:
    """Grouped by thousands."""
    assert number(value) == text


@given(st.decimals(allow_nan=False, allow_infinity=False, places=4))
def test_no_digit_is_lost(value: Decimal) -> None:
    """What is written reads as what it was."""
    assert Decimal(number(value).replace(",", "").replace("−", "-")) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [("2", "2"), ("2.50000", "2.5"), ("0.00009", "0"), ("1234.56789", "1,234.5678"), ("-5", "−5")],
)
def test_rounded_down(value: str, text: str) -> None:
    """Never more than there is."""
    assert trimmed(Decimal(value)) == text


@pytest.mark.parametrize(
    ("value", "currency", "text"),
    [
        ("1234.5", "CNY", "¥1,234.50"),
        ("0.00019", "USD", "$0.0001"),
        ("-3", "EUR", "−€3.00"),
        ("3", "SGD", "3.00 SGD"),
    ],
)
def test_money(value: str, currency: str, text: str) -> None:
    """With its sign or its name."""
    assert money(Decimal(value), currency) == text


def test_times() -> None:
    """In UTC and in the zone of the site."""
    assert utc(AT) == "2026-09-21T14:13:20Z"
    assert SHANGHAI.moment(AT) == "2026-09-21 22:13:20"
    assert (SHANGHAI.clock(AT), SHANGHAI.day(AT), SHANGHAI.name(AT)) == (
        "22:13",
        "2026-09-21",
        "UTC+8",
    )
    assert SHANGHAI.midnight(AT) == AT - (22 * 3600 + 13 * 60 + 20) * 1000
    assert Times(ZoneInfo("Asia/Kolkata")).name(AT) == "UTC+5:30"
    assert Times(ZoneInfo("UTC")).name(AT) == "UTC"


@pytest.mark.parametrize("at_ms", [2**63 - 1, -1])
def test_times_beyond_the_calendar(at_ms: int) -> None:
    """Fail no page."""
    assert SHANGHAI.moment(at_ms)


def test_spans() -> None:
    """The largest unit that fits."""
    assert [span_of(ms) for ms in (0, 5_000, 61_000, -7_200_000, 200_000_000)] == [
        ("second", 0),
        ("second", 5),
        ("minute", 1),
        ("hour", 2),
        ("day", 2),
    ]
