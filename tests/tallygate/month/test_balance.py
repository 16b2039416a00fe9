"""The books of a month held against each other."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from tallygate.month.balance import SCALE, Books, Record, breaks, rows, together, told
from tallygate.month.tally import Place

HERE = Place("i", 7, "ada", "tokens_in")
WHOLE = Place("", 7, "ada", "tokens_in")
SENT = Record("sn-1", "i", 7, 90 * SCALE, "sent")


def books(**changes: Any) -> Books:
    """100 served, of which 3 uncertain; 90 collected, 5 in a bucket, 1 carried, 1 unrecorded."""
    balanced = Books(
        served={HERE: 100, WHOLE: 100},
        uncertain={HERE: 3, WHOLE: 3},
        ledger={HERE: 97, WHOLE: 97},
        records=[SENT],
        collected=[SENT._replace(state="collected")],
        carry={"i": 1 * SCALE},
        buckets={("i", 7, "overshoot"): 5},
        unrecorded={("i", 7): 1},
        origins={("i", 7): 91},
        products={"i": "IN"},
    )
    return replace(balanced, **changes)


def test_books_that_agree_have_no_break() -> None:
    """And every figure of the instance adds up to what was served."""
    assert breaks(books()) == []
    (row,) = rows(books())
    assert (row.product, row.difference, row.buckets) == ("IN", 0, {"overshoot": 5 * SCALE})
    assert together("total", [row, row]).served == 2 * row.served


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"ledger": {HERE: 96, WHOLE: 97}}, "served 100, uncertain 3, in the ledger 96"),
        ({"ledger": {HERE: 97, WHOLE: 98}}, "in the ledger 98"),
        ({"ledger": {HERE: 97, WHOLE: 97, HERE._replace(window=8): 1}}, "served 0"),
        ({"collected": []}, "not collected"),
        ({"collected": [SENT._replace(steps=1)]}, "collected 1 steps"),
        ({"collected": [SENT, SENT._replace(serial="sn-2")]}, "sent nothing"),
        ({"collected": [SENT, SENT]}, "one serial number twice"),
        ({"records": [SENT._replace(state="rejected")]}, "rejected"),
        ({"carry": {}}, "the ledger holds 970000 steps, records and the rest 960000"),
        ({"buckets": {}}, "records and the rest"),
        ({"unrecorded": {}}, "records and the rest"),
        ({"adjusted": {"i": 1}}, "the ledger holds 980000 steps"),
    ],
)
def test_each_difference_is_a_break(wrong: dict[str, Any], said: str) -> None:
    """It names the window and the instance, or the customer."""
    found = breaks(books(**wrong))
    assert said in _text(each.what for each in found)
    assert {each.window for each in found} <= {0, 7, 8}
    assert {each.instance for each in found} <= {"i", "ada", ""}


def test_the_window_is_where_records_say_too_little() -> None:
    """Of an instance whose total differs the earliest window that differs is named."""
    later = HERE._replace(window=9)
    found = breaks(
        books(
            served={HERE: 100, WHOLE: 100, later: 4},
            ledger={HERE: 97, WHOLE: 97, later: 4},
        )
    )
    assert [each.window for each in found] == [9]


def test_the_books_of_an_instance_are_told() -> None:
    """Window by window."""
    said = _text(told(books(), "i"))
    for part in ("i (IN)", "window 7", "served 100", "ledger 97", "record sn-1", "overshoot 5"):
        assert part in said
    assert list(told(books(), "nobody")) == []


def _text(lines: Iterable[str]) -> str:
    return "\n".join(lines)
