"""Reads a file of instances that exist at KooGallery already, CSV or JSON, and finds what is wrong in
it line by line. Pure.

Columns are described in docs/instances.md. `used` is in billing units: a decimal for a pay-per-use
instance, and for a package what it gave to each pay-per-use instance, `id=decimal;id=decimal` or an
object.
"""

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, Final, NamedTuple

from billing_sync.errors import ImportRefused
from metering.entitlement import InstanceStatus

MAX_ROWS: Final = 100_000
MAX_FILE: Final = 64 * 1024 * 1024
MAX_USED: Final = Decimal(10) ** 12
_MAX_ID: Final = 64
_LENGTHS: Final = {"customer_id": 100, "customer_name": 128}
_REQUIRED: Final = ("instance_id", "customer_id", "product_id", "order_id", "started")
_OPTIONAL: Final = (
    "customer_name",
    "order_line_id",
    "status",
    "expires",
    "billed_until",
    "linear_value",
    "trial",
    "used",
)
COLUMNS: Final = (*_REQUIRED, *_OPTIONAL)
_STATUSES: Final = (InstanceStatus.ACTIVE, InstanceStatus.FROZEN)
_YES: Final = {"": False, "false": False, "0": False, "true": True, "1": True}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EARLIEST_MS: Final = 1_262_304_000_000  # 2010: the marketplace is younger


class Problem(NamedTuple):
    """What is wrong with a line of the file; 0 is the file itself."""

    line: int
    text: str


@dataclass(frozen=True, slots=True)
class Taken:
    """One instance as the file says it. Times are UTC ms, 0 for none; `used` is in billing units by
    pay-per-use instance, of which a pay-per-use instance has itself alone."""

    line: int
    instance_id: str
    customer_id: str
    product_id: str
    order_id: str
    started: int
    customer_name: str = ""
    order_line_id: str = ""
    status: InstanceStatus = InstanceStatus.ACTIVE
    expires: int = 0
    billed_until: int = 0
    linear_value: int = 1
    trial: bool = False
    used: tuple[tuple[str, Decimal], ...] = ()


class Read(NamedTuple):
    """The rows that can be read, and what is wrong with the others."""

    rows: list[Taken]
    problems: list[Problem]


class _Wrong(Exception):
    """A line that cannot be read; the text names the column."""


def read(raw: bytes, *, as_json: bool) -> Read:
    """All of the file. Raises ImportRefused where it is no such file at all."""
    if len(raw) > MAX_FILE:
        raise ImportRefused(f"the file is larger than {MAX_FILE // 1024 // 1024} MiB; split it")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        raise ImportRefused(f"the file is not UTF-8, from byte {problem.start} on") from None
    rows: list[Taken] = []
    problems: list[Problem] = []
    for line, given in _objects(text) if as_json else _lines(text):
        if len(rows) + len(problems) >= MAX_ROWS:
            raise ImportRefused(f"the file has more than {MAX_ROWS} instances; split it")
        try:
            rows.append(_row(line, given))
        except _Wrong as wrong:
            problems.append(Problem(line, str(wrong)))
    if not rows and not problems:
        raise ImportRefused("the file holds no instances")
    return Read(rows, [*problems, *_repeated(rows)])


def _lines(text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        _check_columns(reader.fieldnames or ())
        for each in reader:
            if None in each:
                yield reader.line_num, {"more values than columns": ""}
            else:
                yield reader.line_num, {k: v.strip() if v else "" for k, v in each.items()}
    except csv.Error as problem:
        raise ImportRefused(f"line {reader.line_num} is no CSV: {problem}") from None


def _check_columns(names: Sequence[str]) -> None:
    if unknown := [name for name in names if name not in COLUMNS]:
        raise ImportRefused(
            f"column {unknown[0][:40]!r} is unknown; known are {', '.join(COLUMNS)}"
        )
    if lacking := [name for name in _REQUIRED if name not in names]:
        raise ImportRefused(f"column {lacking[0]} is missing; the first line names the columns")
    if len(set(names)) < len(names):
        raise ImportRefused("a column stands there twice")


def _objects(text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        found = json.loads(text, parse_float=Decimal, parse_constant=_no_number)
    except (ValueError, RecursionError) as problem:
        raise ImportRefused(f"the file is no JSON: {problem}") from None
    if not isinstance(found, list):
        raise ImportRefused("the file is no list of instances: [{…}, …]")
    for number, each in enumerate(found, 1):
        yield number, each if isinstance(each, dict) else {"no object": ""}


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no number")


def _row(line: int, given: Mapping[str, Any]) -> Taken:
    if unknown := [name for name in given if name not in COLUMNS]:
        raise _Wrong(f"{unknown[0][:40]} is unknown")
    texts = {name: _text(name, given.get(name)) for name in COLUMNS if name != "used"}
    if lacking := [name for name in _REQUIRED if not texts[name]]:
        raise _Wrong(f"{lacking[0]} is missing")
    return Taken(
        line=line,
        instance_id=texts["instance_id"],
        customer_id=texts["customer_id"],
        customer_name=texts["customer_name"],
        product_id=texts["product_id"],
        order_id=texts["order_id"],
        order_line_id=texts["order_line_id"],
        status=_status(texts["status"]),
        started=_time("started", texts["started"]),
        expires=_time("expires", texts["expires"]),
        billed_until=_time("billed_until", texts["billed_until"]),
        linear_value=_count(texts["linear_value"]),
        trial=_flag(texts["trial"]),
        used=_used(texts["instance_id"], given.get("used")),
    )


def _text(name: str, value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value) if isinstance(value, int) else value
    if not isinstance(text, str) or not text.isprintable():
        raise _Wrong(f"{name} is no printable text")
    if len(text) > _LENGTHS.get(name, _MAX_ID):
        raise _Wrong(f"{name} is longer than {_LENGTHS.get(name, _MAX_ID)} characters")
    return text


def _status(text: str) -> InstanceStatus:
    if text and text not in _STATUSES:
        raise _Wrong(f"status is none of {', '.join(_STATUSES)}")
    return InstanceStatus(text or InstanceStatus.ACTIVE)


def _flag(text: str) -> bool:
    if text.lower() not in _YES:
        raise _Wrong("trial is neither true nor false")
    return _YES[text.lower()]


def _count(text: str) -> int:
    if not text:
        return 1
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text)):
        raise _Wrong("linear_value is no number from 1 to 999999999")
    return int(text)


def _time(name: str, text: str) -> int:
    """ISO 8601, UTC where it names no zone, or KooGallery's yyyyMMddHHmmss, which is UTC."""
    if not text:
        return 0
    try:
        if text.isascii() and text.isdigit() and len(text) in (14, 17):
            moment = datetime.strptime(text[:14], "%Y%m%d%H%M%S").replace(tzinfo=UTC)
        else:
            moment = datetime.fromisoformat(text)
            moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        at_ms = (moment - _EPOCH) // timedelta(milliseconds=1)
    except (ValueError, OverflowError):
        raise _Wrong(f"{name} is no time such as 2026-01-31T00:00:00Z") from None
    if at_ms < _EARLIEST_MS:
        raise _Wrong(f"{name} is before 2010")
    return at_ms


def _used(instance_id: str, value: object) -> tuple[tuple[str, Decimal], ...]:
    if value is None or value == "":
        return ()
    if isinstance(value, Mapping):
        return tuple((str(each), _decimal(quantity)) for each, quantity in value.items())
    if not isinstance(value, str) or "=" not in value:
        return ((instance_id, _decimal(value)),)
    parts = [part.strip().rpartition("=") for part in value.split(";") if part.strip()]
    found = tuple((each.strip(), _decimal(quantity.strip())) for each, _, quantity in parts)
    if len(dict(found)) < len(found):
        raise _Wrong("used names an instance twice")
    return found


def _decimal(value: object) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | str | Decimal):
        raise _Wrong("used is no number")
    text = str(value)
    try:
        number = Decimal(text if len(text) <= _MAX_ID else "")
    except InvalidOperation:
        raise _Wrong("used is no number") from None
    if not number.is_finite() or number < 0 or number > MAX_USED:
        raise _Wrong(f"used is not from 0 to {MAX_USED}")
    if number != round(number, 4):
        raise _Wrong("used has more than four decimals")
    return number


def _repeated(rows: Sequence[Taken]) -> Iterator[Problem]:
    """An id twice, or one order line twice for one product."""
    seen: dict[tuple[str, ...], int] = {}
    for row in rows:
        for key, what in (
            ((row.instance_id,), f"instance {row.instance_id}"),
            (
                (row.order_id, row.order_line_id, row.product_id),
                f"order {row.order_id}, line {row.order_line_id or 'none'}",
            ),
        ):
            if key in seen:
                yield Problem(row.line, f"{what} stands in line {seen[key]} already")
            seen.setdefault(key, row.line)
