"""The table of the open APIs' codes: whole, and read by family."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_sync.koogallery.error_codes import GATEWAY, NUMBERS, Blame, Kind, meaning_of

# As the marketplace's pages list them (spec §7.3, §7.5).
MKT = [
    "0000",
    "0999",
    "0100",
    "0101",
    "0102",
    "0199",
    "0150",
    "0151",
    "0154",
    "9001",
    "9002",
    "9003",
    "9004",
]
CBC = [
    "0000",
    "0999",
    "0100",
    "0101",
    "0199",
    "0150",
    "0151",
    "0154",
    "0250",
    "9001",
    "9002",
    "9003",
    "9004",
]


@pytest.mark.parametrize(
    "code", [*(f"MKT.{n}" for n in MKT), *(f"CBC.{n}" for n in CBC), "94060999"]
)
def test_every_documented_code_has_a_row(code: str) -> None:
    """Only the two successes are accepted."""
    meaning = meaning_of(code)
    assert meaning is not None
    assert (meaning.kind is Kind.ACCEPTED) == code.endswith(".0000")


def test_rows_make_sense() -> None:
    """What is permanent is somebody's fault, and what nobody knows is nobody's."""
    for meaning in [*NUMBERS.values(), *GATEWAY.values()]:
        assert meaning.text
        if meaning.kind is Kind.PERMANENT:
            assert meaning.blame is not Blame.NOBODY
        if meaning.kind is Kind.AMBIGUOUS:
            assert meaning.blame is Blame.NOBODY


@pytest.mark.parametrize("code", ["", "0999", "XYZ.0999", "MKT", "MKT.", "MKT.0000.1", "mkt.0000"])
def test_codes_that_nobody_documented(code: str) -> None:
    """Have no row, and are judged by their HTTP status."""
    assert meaning_of(code) is None


@given(st.text(max_size=20))
def test_any_text(code: str) -> None:
    """Nothing but the two successes is ever one."""
    meaning = meaning_of(code)
    assert meaning is None or meaning.kind is not Kind.ACCEPTED or code[3:] == ".0000"
