"""Reads the marketplace's record list: a CSV of unknown make, line by line and within bounds.

UTF-8 with or without BOM, UTF-16 with BOM, or GB18030 (GBK); comma, semicolon, tab or bar; the header
within the first lines. A list that cannot be read as a whole raises BadList, one line is `Faulty`.
"""

import codecs
import csv
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Final

from tallygate.reconciliation import sdr_columns
from tallygate.reconciliation.sdr import Faulty, Line
from tallygate.reconciliation.sdr_columns import MAX_CELL, Columns, Unreadable, cell_text

MAX_BYTES: Final = 2 << 30
MAX_LINE: Final = 65_536  # characters
MAX_COLUMNS: Final = 200
HEADER_WITHIN: Final = 20  # lines
_BLOCK: Final = 1 << 20
_DELIMITERS: Final = ",\t;|"
_BOMS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


class BadList(Exception):
    """The list cannot be read at all; the text says what to do."""


def read_list(path: Path, zone_ms: int) -> Iterator[Line | Faulty]:
    """Every line of the list. Raises BadList."""
    try:
        with path.open("rb") as file:
            _refuse_large(file)
            encoding = _encoding(file)
        with path.open(encoding=encoding, newline="") as text:
            yield from read_lines(_bounded(text), zone_ms)
    except BadList as problem:
        raise BadList(f"{path}: {problem}") from None
    except UnicodeError:
        raise BadList(f"{path}: neither UTF-8 nor GBK; save it as UTF-8") from None
    except OSError as problem:
        raise BadList(f"{path}: cannot be read: {problem.strerror}") from None


def _refuse_large(file: IO[bytes]) -> None:
    if file.seek(0, os.SEEK_END) > MAX_BYTES:
        raise BadList(f"larger than {MAX_BYTES >> 30} GiB; export it in parts")
    file.seek(0)


def _encoding(file: IO[bytes]) -> str:
    head = file.read(4)
    for mark, name in _BOMS:
        if head.startswith(mark):
            return name
    decoder = codecs.getincrementaldecoder("utf-8")()
    file.seek(0)
    try:
        while block := file.read(_BLOCK):
            decoder.decode(block)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return "gb18030"
    return "utf-8"


def _bounded(text: IO[str]) -> Iterator[str]:
    number = 0
    while line := text.readline(MAX_LINE + 1):
        number += 1
        if len(line) > MAX_LINE:
            raise BadList(f"line {number} is longer than {MAX_LINE} characters")
        yield line


def read_lines(lines: Iterable[str], zone_ms: int) -> Iterator[Line | Faulty]:
    """The same of text lines that keep their ends. Raises BadList."""
    source = iter(lines)
    skipped: list[str] = []
    for line in source:
        found = _header(line, len(skipped) + 1)
        skipped.append(line)
        if found is not None:
            columns, delimiter = found
            yield from _rows(source, len(skipped), columns, delimiter, zone_ms)
            return
        if len(skipped) == HEADER_WITHIN:
            break
    raise BadList(
        "no header names its columns: wanted are metering_sn (话单流水号), or instance_id (实例ID), "
        "begin_time (开始时间) and end_time (结束时间), and besides usage_value (用量)"
    )


def _header(line: str, number: int) -> tuple[Columns, str] | None:
    """The columns, by the delimiter with which they have a meaning."""
    for delimiter in _DELIMITERS:
        try:
            columns = sdr_columns.columns(_split(line, delimiter)[:MAX_COLUMNS])
        except csv.Error:
            continue
        except Unreadable as problem:
            raise BadList(f"line {number}: {problem}") from None
        if columns is not None:
            return columns, delimiter
    return None


def _split(line: str, delimiter: str) -> list[str]:
    return next(csv.reader([line], delimiter=delimiter, strict=True), [])


def _rows(
    source: Iterator[str], before: int, columns: Columns, delimiter: str, zone_ms: int
) -> Iterator[Line | Faulty]:
    rows = csv.reader(source, delimiter=delimiter, strict=True)
    while True:
        first = before + rows.line_num + 1
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as problem:
            yield Faulty(first, f"no CSV: {problem}")
            continue
        if any(cell.strip() for cell in row):
            yield _line(row, columns, first, zone_ms)


def _line(row: Sequence[str], columns: Columns, number: int, zone_ms: int) -> Line | Faulty:
    try:
        return _read(row, columns, number, zone_ms)
    except Unreadable as problem:
        return Faulty(number, str(problem))


def _read(row: Sequence[str], columns: Columns, number: int, zone_ms: int) -> Line:
    serial = _cell(row, columns.metering_sn)
    instance_id = _cell(row, columns.instance_id)
    begin, end = _cell(row, columns.begin), _cell(row, columns.end)
    value = _cell(row, columns.value)
    status = _cell(row, columns.status)
    if not serial and not (instance_id and begin and end):
        raise Unreadable("it names neither a record nor an instance with begin and end")
    return Line(
        number,
        serial,
        instance_id,
        sdr_columns.time_of(begin, zone_ms) if begin else None,
        sdr_columns.time_of(end, zone_ms) if end else None,
        sdr_columns.value_of(value),
        status if sdr_columns.is_refused(status) else "",
    )


def _cell(row: Sequence[str], index: int | None) -> str:
    if index is None or index >= len(row):
        return ""
    text = cell_text(row[index])
    if len(text) > MAX_CELL:
        raise Unreadable(f"column {index + 1} is longer than {MAX_CELL} characters")
    return text
