import csv
import io
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering.windows import HOUR_MS
from tallygate.reconciliation.sdr import Faulty, Line
from tallygate.reconciliation.sdr_columns import ALIASES, Unreadable, columns, time_of, zone_of
from tallygate.reconciliation.sdr_reading import BadList, read_lines, read_list

AT = int(datetime(2026, 1, 31, 13, tzinfo=UTC).timestamp()) * 1000
ENGLISH = "metering_sn,instance_id,begin_time,end_time,usage_value\n"
CHINESE = "话单流水号;实例ID;开始时间(UTC);结束时间(UTC);用量\n"


def read(text: str, zone_ms: int = 0) -> list[Line | Faulty]:
    return list(read_lines(text.splitlines(keepends=True), zone_ms))


def read_file(path: Path, raw: bytes) -> list[Line | Faulty]:
    path.write_bytes(raw)
    return list(read_list(path, 0))


def test_a_list_is_read() -> None:
    """Line by line, with the number in the file."""
    text = ENGLISH + "sn-1,i-1,20260131T130000Z,20260131T140000Z,12.5\n\nsn-2,,,,3\n"
    assert read(text) == [
        Line(2, "sn-1", "i-1", AT, AT + HOUR_MS, Decimal("12.5")),
        Line(4, "sn-2", "", None, None, Decimal(3)),
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gbk", "gb18030", "utf-16"])
def test_every_usual_encoding_is_read(encoding: str, tmp_path: Path) -> None:
    """As spreadsheets on either side of the sea save them."""
    text = CHINESE + "sn-1;i-1;2026-01-31 13:00:00;2026/1/31 14:00;1,234.5\n"
    assert read_file(tmp_path / "list.csv", text.encode(encoding)) == [
        Line(2, "sn-1", "i-1", AT, AT + HOUR_MS, Decimal("1234.5"))
    ]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_every_usual_delimiter_is_read(delimiter: str) -> None:
    """The one with which the header has a meaning."""
    head = delimiter.join(["商品", "SN", "Usage Value", "状态"])
    (line,) = read(head + "\n" + delimiter.join(['"a, b; c"', "sn", "1", "有效"]))
    assert isinstance(line, Line)
    assert (line.metering_sn, line.value, line.refused) == ("sn", Decimal(1), "")


def test_what_stands_above_the_header_is_passed_over() -> None:
    """A title, or when it was exported."""
    text = "话单管理\n导出时间：2026-02-01\n\n" + CHINESE + "s;i;20260131130000;20260131140000;1"
    (line,) = read(text)
    assert isinstance(line, Line)
    assert (line.line, line.begin) == (5, AT)


def test_guards_of_spreadsheets_are_taken_off() -> None:
    """They keep long numbers from becoming rounded ones."""
    (line,) = read(ENGLISH + '"=""0012""",\'i-1,\t20260131T130000Z,1769868000000,="2.5"\n')
    assert isinstance(line, Line | Faulty)
    (line,) = read(ENGLISH + "'0012,\ti-1,20260131T130000Z\t,1769868000000,2.5\n")
    assert line == Line(2, "0012", "i-1", AT, AT + HOUR_MS, Decimal("2.5"))


@pytest.mark.parametrize("status", ["失败", "校验失败：重复", "INVALID", "Validation failed"])
def test_the_word_of_the_marketplace_is_kept(status: str) -> None:
    """A line that does not count confirms nothing."""
    (line,) = read(f"sn,usage,status\ns,1,{status}\n")
    assert isinstance(line, Line)
    assert line.refused == status


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("sn,i,20260131T130000Z,20260131T140000Z,", "'' is no usage value"),
        ("sn,i,20260131T130000Z,20260131T140000Z,-1", "'-1' is no usage value"),
        ("sn,i,20260131T130000Z,20260131T140000Z,1e3", "'1e3' is no usage value"),
        ("sn,i,20260131T130000Z,20260131T140000Z,NaN", "'NaN' is no usage value"),
        ('sn,i,20260131T130000Z,20260131T140000Z,"1,23"', "'1,23' is no usage value"),
        ("sn,i,20260132T130000Z,20260131T140000Z,1", "'20260132T130000Z' is no time"),
        ("sn,i,yesterday,20260131T140000Z,1", "'yesterday' is no time"),
        (",i,,20260131T140000Z,1", "it names neither a record nor an instance with begin and end"),
        ("sn", "'' is no usage value"),
        ("s" * 300 + ",i,,,1", "column 1 is longer than 256 characters"),
        ('"sn"x,i,,,1', "no CSV: ',' expected after '\"'"),
    ],
)
def test_a_line_that_cannot_be_read_is_named(row: str, said: str) -> None:
    """With its number; the others are read."""
    found = read(ENGLISH + "a,,,,1\n" + row + "\nb,,,,2\n")
    assert found[1] == Faulty(3, said)
    assert [each.metering_sn for each in found if isinstance(each, Line)] == ["a", "b"]


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "no header names its columns"),
        (b"a,b\n1,2\n", "no header names its columns"),
        (b"sn,serial,usage\n", "line 1: the columns 'sn' and 'serial' may both be metering_sn"),
        (b"x" * 70_000, "line 1 is longer than 65536 characters"),
        (b"\xff\xff\xff\xff\n", "neither UTF-8 nor GBK; save it as UTF-8"),
    ],
)
def test_what_is_no_such_list_is_refused(raw: bytes, said: str, tmp_path: Path) -> None:
    """In one line that says what to do."""
    with pytest.raises(BadList, match=said.replace("'", ".")) as refused:
        read_file(tmp_path / "list.csv", raw)
    assert "\n" not in str(refused.value)


def test_times_have_the_zone_they_name() -> None:
    """Or the one that was given."""
    ahead = zone_of("+08:00")
    assert time_of("2026-01-31 21:00:00", ahead) == AT
    assert time_of("2026-01-31 21:00:00 GMT+08:00", 0) == AT
    assert time_of("2026-01-31T13:00:00Z", ahead) == AT
    assert time_of("20260131130000123", 0) == AT + 123
    assert time_of("2026年1月31日 13:00:00", 0) == AT
    assert time_of(str(AT // 1000), ahead) == AT


@pytest.mark.parametrize("text", ["", "Beijing", "+25:00", "+08:75", "8"])
def test_a_zone_is_an_offset(text: str) -> None:
    """Nothing else is guessed."""
    with pytest.raises(Unreadable):
        zone_of(text)


def test_no_alias_has_two_meanings() -> None:
    """And each is written as it is compared."""
    every = [alias for aliases in ALIASES.values() for alias in aliases]
    assert len(every) == len(set(every))
    for field, aliases in ALIASES.items():
        for alias in aliases:
            others = {"metering_sn": ["sn", "usage"], "usage_value": ["sn"]}
            head = [alias, *(h for h in others.get(field, ["sn", "usage"]) if h != alias)]
            if field == "metering_sn":
                head = [alias, "usage"]
            assert columns(head) is not None, alias


@given(st.binary(max_size=400))
def test_no_file_makes_it_fail(raw: bytes) -> None:
    """It is refused, or every line is read or named."""
    for encoding in ("utf-8", "gb18030", "latin-1"):
        text = raw.decode(encoding, errors="replace")
        for whole in (text, ENGLISH + text, CHINESE + text):
            try:
                found = list(read_lines(io.StringIO(whole, newline=""), 0))
            except BadList:
                continue
            assert all(isinstance(each, Line | Faulty) for each in found)


texts = st.text(st.sampled_from('ab0,;|"-#é中。 ='), min_size=1, max_size=12).filter(
    lambda text: text.strip(" =") == text
)


@given(
    st.lists(st.tuples(texts, st.decimals(0, 10**8, places=4)), max_size=8),
    st.sampled_from(",;\t|"),
)
def test_what_was_written_is_read(rows: list[tuple[str, Decimal]], delimiter: str) -> None:
    """Whatever the ids hold."""
    file = io.StringIO()
    writer = csv.writer(file, delimiter=delimiter)
    writer.writerow(["metering_sn", "usage_value"])
    writer.writerows(rows)
    found = list(read_lines(io.StringIO(file.getvalue(), newline=""), 0))
    assert [(each.metering_sn, each.value) for each in found if isinstance(each, Line)] == rows
