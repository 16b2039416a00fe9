"""How replies are written: exact numbers, ASCII, bounded messages."""

import json
from decimal import ROUND_DOWN, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_sync.koogallery.answers import Answer, created, decode, encode, number
from billing_sync.koogallery.codes import ResultCode


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("0", "0.0"),
        ("5", "5.0"),
        ("100", "100.0"),
        ("0.3", "0.3"),
        ("0.0001", "0.0001"),
        ("0.00009", "0.0"),
        ("99999999.9999", "99999999.9999"),
        ("123456789012345678.5", "123456789012345678.5"),
        ("1E+3", "1000.0"),
    ],
)
def test_numbers(value: str, text: str) -> None:
    """A decimal is written digit by digit, with one to four decimals and no exponent."""
    assert number(Decimal(value)) == text


def test_sums_have_no_noise() -> None:
    """0.1 + 0.2 is 0.3 on the wire."""
    answer = Answer(ResultCode.SUCCESS, info=({"usageValue": Decimal("0.1") + Decimal("0.2")},))
    assert '"usageValue":0.3}' in encode(answer)


@given(st.decimals(min_value=0, max_value=10**15, places=6))
def test_never_more_than_was_used(value: Decimal) -> None:
    """The number is the value rounded down to four decimals, and JSON reads it back exactly."""
    back = json.loads(number(value), parse_float=Decimal)
    assert back == value.quantize(Decimal("0.0001"), ROUND_DOWN)


@given(
    st.recursive(st.text() | st.integers(), lambda s: st.lists(s) | st.dictionaries(st.text(), s))
)
def test_the_rest_is_plain_json(value: object) -> None:
    """Everything but decimals is written as json.dumps would, in ASCII."""
    text = encode(Answer(ResultCode.SUCCESS, info=({"x": value},)))
    assert text.isascii()
    assert json.loads(text)["info"] == [{"x": value}]


def test_a_long_message_is_cut() -> None:
    """resultMsg holds at most 255 characters."""
    assert len(json.loads(encode(Answer(ResultCode.INTERNAL, "x" * 999)))["resultMsg"]) == 255


def test_the_inbox_gives_back_what_it_got() -> None:
    """An answer survives being stored."""
    for answer in (created("i", settled=True), created("i", settled=False)):
        assert decode(encode(answer)) == answer


def test_members() -> None:
    """instanceId and info appear only where they belong."""
    assert json.loads(encode(Answer(ResultCode.SUCCESS))) == {
        "resultCode": "000000",
        "resultMsg": "success",
    }
    assert json.loads(encode(created("i", settled=False)))["resultCode"] == "000004"
