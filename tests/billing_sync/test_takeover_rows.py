"""Files of instances: what they may say, and what is refused by its line."""

import csv
import io
import json
from contextlib import suppress
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_sync.errors import ImportRefused
from billing_sync.takeover_rows import COLUMNS, MAX_FILE, Taken, read

ROW: dict[str, Any] = {
    "instance_id": "i1",
    "customer_id": "c1",
    "product_id": "TOKENS",
    "order_id": "CS1",
    "started": "2026-01-31T08:00:00+08:00",
}
STARTED = 1_769_817_600_000


def as_csv(*rows: dict[str, Any]) -> bytes:
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def as_json(*rows: Any) -> bytes:
    return json.dumps(rows).encode()


def one(row: dict[str, Any]) -> Taken:
    (from_csv,), problems = read(as_csv(row), as_json=False)
    assert problems == []
    return from_csv


def wrong(row: Any) -> str:
    """What is said of the only line of a JSON file."""
    rows, problems = read(as_json(row), as_json=True)
    ((line, text),) = problems
    assert (rows, line) == ([], 1)
    return text


def test_the_least_that_a_row_says() -> None:
    """Five columns; the rest has defaults, and the line is told."""
    taken = one(ROW)
    assert taken == Taken(2, "i1", "c1", "TOKENS", "CS1", STARTED)
    assert (taken.status, taken.linear_value, taken.used) == ("active", 1, ())


def test_all_that_a_row_may_say() -> None:
    """The same from CSV and from JSON, where numbers may be numbers."""
    more = {
        "customer_name": "买家",
        "order_line_id": "CS1-000001",
        "status": "frozen",
        "expires": "20270131000000",
        "billed_until": "2026-11-23T10:00:00",
        "linear_value": 3,
        "trial": "true",
        "used": "12.5",
    }
    taken = one(ROW | more)
    assert (taken.customer_name, taken.status, taken.trial) == ("买家", "frozen", True)
    assert taken.expires == STARTED + 365 * 86_400_000
    assert (taken.linear_value, taken.used) == (3, (("i1", Decimal("12.5")),))
    given_json = as_json(ROW | more | {"trial": True, "used": 12.5, "status": "frozen"})
    (same,), _ = read(given_json, as_json=True)
    assert same == Taken(**{**{f: getattr(taken, f) for f in taken.__slots__}, "line": 1})


def test_what_packages_gave() -> None:
    """By pay-per-use instance, in CSV and JSON."""
    expected = (("a=1", Decimal("1.5")), ("b", Decimal(2)))
    assert one(ROW | {"used": "a=1=1.5; b=2;"}).used == expected
    (row,), _ = read(as_json(ROW | {"used": {"a=1": "1.5", "b": 2}}), as_json=True)
    assert row.used == expected


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"instance_id": ""}, "instance_id is missing"),
        ({"order_id": None}, "order_id is missing"),
        ({"instance_id": "x" * 65}, "instance_id is longer than 64 characters"),
        ({"customer_id": "a\nb"}, "customer_id is no printable text"),
        ({"customer_id": ["a"]}, "customer_id is no printable text"),
        ({"future": 1}, "future is unknown"),
        ({"status": "released"}, "status is none of active, frozen"),
        ({"trial": "maybe"}, "trial is neither"),
        ({"linear_value": 0}, "linear_value is no number"),
        ({"linear_value": "1" * 10}, "linear_value is no number"),
        ({"started": "yesterday"}, "started is no time"),
        ({"started": "20261301000000"}, "started is no time"),
        ({"started": "0001-01-01T00:00:00+14:00"}, "started is before 2010"),
        ({"started": "2009-12-31"}, "started is before 2010"),
        ({"used": "-1"}, "used is not from 0"),
        ({"used": "1e99"}, "used is not from 0"),
        ({"used": "NaN"}, "used is not from 0"),
        ({"used": "0.00001"}, "used has more than four decimals"),
        ({"used": "much"}, "used is no number"),
        ({"used": "1" * 65}, "used is no number"),
        ({"used": True}, "used is no number"),
        ({"used": [1]}, "used is no number"),
        ({"used": "a=1;a=2"}, "used names an instance twice"),
        ({"used": {"a": {}}}, "used is no number"),
    ],
)
def test_nonsense_is_named(change: dict[str, Any], said: str) -> None:
    """The column stands in the sentence."""
    assert said in wrong(ROW | change)


def test_the_good_lines_are_read_all_the_same() -> None:
    """Every line is looked at, so that one run tells all."""
    rows = [ROW, ROW | {"instance_id": ""}, ROW | {"instance_id": "i3", "order_id": "CS3"}]
    found, problems = read(as_csv(*rows), as_json=False)
    assert [row.line for row in found] == [2, 4]
    assert problems == [(3, "instance_id is missing")]


def test_repeats_within_a_file() -> None:
    """An instance stands there once, and so does what an order line bought."""
    rows = [ROW, ROW | {"order_id": "CS2"}, ROW | {"instance_id": "i3"}]
    _, problems = read(as_csv(*rows), as_json=False)
    assert problems == [
        (3, "instance i1 stands in line 2 already"),
        (4, "order CS1, line none stands in line 2 already"),
    ]
    both = [ROW, ROW | {"instance_id": "i2", "product_id": "IMAGES"}]
    assert read(as_csv(*both), as_json=False).problems == []


@pytest.mark.parametrize(
    ("raw", "is_json", "said"),
    [
        (b"\xff", False, "not UTF-8, from byte 0"),
        (b"", False, "column instance_id is missing"),
        (b"instance_id\n", False, "column customer_id is missing"),
        (b"colour,instance_id\n", False, "'colour' is unknown"),
        (",".join([*COLUMNS, "used"]).encode(), False, "twice"),
        (",".join(COLUMNS).encode(), False, "holds no instances"),
        (",".join(COLUMNS).encode() + b'\n"x', False, "no CSV"),
        (b"{", True, "no JSON"),
        (b"[" * 100_000, True, "no JSON"),
        (b"[NaN]", True, "NaN is no number"),
        (b"{}", True, "no list"),
        (b"[]", True, "holds no instances"),
        (b" " * (MAX_FILE + 1), True, "larger than 64 MiB"),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_what_is_no_such_file(raw: bytes, is_json: bool, said: str) -> None:
    """It is refused as a whole, in a sentence."""
    with pytest.raises(ImportRefused, match=said):
        read(raw, as_json=is_json)


def test_lines_that_are_longer_or_none() -> None:
    """More values than columns, and items that are no objects, are problems of their lines."""
    names = ",".join(ROW)
    raw = f"{names}\n{','.join(ROW.values())},more\n".encode()
    assert read(raw, as_json=False).problems == [(2, "more values than columns is unknown")]
    assert wrong(7) == "no object is unknown"


def test_a_file_as_spreadsheets_write_it() -> None:
    """With a byte order mark and CRLF."""
    raw = b"\xef\xbb\xbf" + as_csv(ROW)
    assert b"\r\n" in raw
    assert len(read(raw, as_json=False).rows) == 1


values = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
junk = st.recursive(
    values, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner)
)


@given(st.binary(max_size=200), st.booleans())
def test_any_bytes(raw: bytes, is_json: bool) -> None:
    """Rows, problems, or a refusal; never anything else."""
    with suppress(ImportRefused):
        read(raw, as_json=is_json)


@given(st.lists(st.dictionaries(st.sampled_from(COLUMNS), junk) | junk, max_size=3))
def test_any_objects(rows: list[Any]) -> None:
    """The same for JSON that parses."""
    with suppress(ImportRefused):  # for numbers that are none
        found = read(json.dumps([ROW, *rows]).encode(), as_json=True)
        assert found.rows[0].instance_id == "i1"
        assert len(found.rows) <= len(rows) + 1


@given(st.decimals(0, 10**12, places=4))
def test_use_is_exact(used: Decimal) -> None:
    """No float touches it, in either format."""
    row = ROW | {"used": f"{used:f}"}
    assert one(row).used == (("i1", used),)
    raw = as_json(ROW).replace(b'"started"', f'"used": {used:f}, "started"'.encode())
    assert read(raw, as_json=True).rows[0].used == (("i1", used),)
