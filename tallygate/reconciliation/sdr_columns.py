"""Which columns of the marketplace's record list (话单管理) mean what, and how its cells are read. Pure.

No page documents the list's columns, so names are recognised by a table of what they may be called.
Cells are read strictly: what is not surely a time or a value is refused with a text.
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from typing import Final, NamedTuple

from metering.windows import HOUR_MS

SN: Final = "metering_sn"
INSTANCE: Final = "instance_id"
BEGIN: Final = "begin_time"
END: Final = "end_time"
VALUE: Final = "usage_value"
STATUS: Final = "status"

# As they are compared: without blanks, punctuation, what stands in brackets, and case.
ALIASES: Final[Mapping[str, tuple[str, ...]]] = {
    SN: (
        *("meteringsn", "sn", "meteringserialnumber", "serialnumber", "serialno", "serial"),
        *("sdrid", "sdrno", "sdrsn", "sdrnumber", "recordid", "recordsn", "usagerecordid", "cdrid"),
        *("话单流水号", "流水号", "话单id", "话单编号", "话单号", "话单序列号", "序列号"),
        *("计量流水号", "计量序列号", "计量sn", "计量id", "记录id", "使用记录id"),
    ),
    INSTANCE: (
        *("instanceid", "instance", "resourceid", "resourceinstanceid", "payperuseinstanceid"),
        *(
            "实例id",
            "实例编号",
            "实例",
            "实例标识",
            "资源id",
            "资源实例id",
            "商品实例id",
            "按需实例id",
        ),
    ),
    BEGIN: (
        *("begintime", "begin", "starttime", "start", "usagestarttime", "usagebegintime", "from"),
        *("meteringstarttime", "meteringbegintime", "sdrstarttime", "sdrbegintime"),
        *(
            "开始时间",
            "起始时间",
            "计量开始时间",
            "话单开始时间",
            "使用开始时间",
            "用量开始时间",
            "统计开始时间",
        ),
    ),
    END: (
        *("endtime", "end", "stoptime", "usageendtime", "meteringendtime", "sdrendtime", "to"),
        *(
            "结束时间",
            "终止时间",
            "计量结束时间",
            "话单结束时间",
            "使用结束时间",
            "用量结束时间",
            "统计结束时间",
        ),
    ),
    VALUE: (
        *(
            "usagevalue",
            "usage",
            "value",
            "quantity",
            "usagequantity",
            "usageamount",
            "meteringvalue",
        ),
        *(
            "用量",
            "使用量",
            "用量值",
            "使用量值",
            "用量数值",
            "话单用量",
            "计量值",
            "使用值",
            "数量",
        ),
    ),
    STATUS: (
        *("status", "state", "sdrstatus", "recordstatus", "validationstatus", "result", "sdrstate"),
        *("状态", "话单状态", "处理状态", "校验状态", "校验结果", "处理结果"),
    ),
}
_FIELDS: Final = {alias: field for field, aliases in ALIASES.items() for alias in aliases}
_REFUSED: Final = (
    *("fail", "invalid", "error", "reject", "abnormal", "duplicate", "discard", "refuse"),
    *("失败", "无效", "异常", "错误", "重复", "拒绝", "丢弃", "不通过", "未通过"),
)
_IN_BRACKETS: Final = re.compile(r"\([^)]*\)|\[[^\]]*\]")
_TIME: Final = re.compile(
    r"(\d{4})[-/.年]?(\d{1,2})[-/.月]?(\d{1,2})日?[T ]*(\d{1,2}):?(\d{2})(?::?(\d{2})(?:[.,]?(\d{1,9}))?)?"
    r" ?(Z|(?:UTC|GMT)?(?:[+-]\d{1,2}(?::?\d{2})?)?)"
)
_ZONE: Final = re.compile(r"(?:UTC|GMT)?(?:([+-])(\d{1,2}):?(\d{2})?)?|Z")
_VALUE: Final = re.compile(r"\d{1,20}(\.\d{1,20})?")
_GROUPED: Final = re.compile(r"\d{1,3}(,\d{3})+(\.\d{1,20})?")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MAX_CELL: Final = 256


class Columns(NamedTuple):
    """Where the cells of a line stand; None for a column that is not there."""

    metering_sn: int | None
    instance_id: int | None
    begin: int | None
    end: int | None
    value: int
    status: int | None


class Unreadable(Exception):
    """A header or a cell that cannot be read; the text says why."""


def columns(header: Sequence[str]) -> Columns | None:
    """The columns that a header names; None for a line that is no header of such a list.

    Raises Unreadable for a header with two columns of the same meaning, where a guess would be wrong.
    """
    found: dict[str, int] = {}
    for index, cell in enumerate(header):
        field = _FIELDS.get(_bare(cell))
        if field is None:
            continue
        if field in found:
            first = header[found[field]].strip()
            raise Unreadable(
                f"the columns {first!r} and {cell.strip()!r} may both be {field}; remove one"
            )
        found[field] = index
    by_interval = {INSTANCE, BEGIN, END} <= found.keys()
    if VALUE not in found or not (SN in found or by_interval):
        return None
    return Columns(
        found.get(SN),
        found.get(INSTANCE),
        found.get(BEGIN),
        found.get(END),
        found[VALUE],
        found.get(STATUS),
    )


def _bare(cell: str) -> str:
    plain = unicodedata.normalize("NFKC", cell[:MAX_CELL]).casefold()
    return re.sub(r"[^\w]|_", "", _IN_BRACKETS.sub("", plain))


def cell_text(cell: str) -> str:
    """What stands in a cell: exports guard long numbers as ="0012", '0012 or with a tab."""
    text = cell.strip(" \t\r\n\u00a0\u3000\ufeff")
    if text.startswith('="') and text.endswith('"') and len(text) > 2:
        text = text[2:-1]
    return text.removeprefix("'")


def time_of(text: str, zone_ms: int) -> int:
    """UTC ms of a cell; one without a zone is `zone_ms` ahead of UTC. Raises Unreadable."""
    if text.isascii() and text.isdigit() and len(text) in (10, 13):  # seconds or ms since the epoch
        return int(text) * (1000 if len(text) == 10 else 1)
    found = _TIME.fullmatch(text)
    if found is None:
        raise Unreadable(f"{text[:40]!r} is no time")
    year, month, day, hour, minute, second, part, zone = found.groups()
    ms = int((part or "0").ljust(3, "0")[:3])
    try:
        date = datetime(int(year), int(month), int(day), tzinfo=UTC)
        clock = time(int(hour), int(minute), int(second or 0), ms * 1000, UTC)
        local = datetime.combine(date, clock)
    except ValueError:
        raise Unreadable(f"{text[:40]!r} is no time") from None
    ahead = zone_of(zone) if zone else zone_ms
    return (local - _EPOCH) // timedelta(milliseconds=1) - ahead


def zone_of(text: str) -> int:
    """How many ms a zone is ahead of UTC: Z, UTC, +08:00, GMT+8. Raises Unreadable."""
    found = _ZONE.fullmatch(text.strip().upper())
    if found is None or not text.strip():
        raise Unreadable(f"{text[:40]!r} is no zone; write UTC or +08:00")
    sign, hours, minutes = found.groups()
    ahead = int(hours or 0) * HOUR_MS + int(minutes or 0) * 60_000
    if int(minutes or 0) > 59 or ahead > 18 * HOUR_MS:
        raise Unreadable(f"{text[:40]!r} is no zone; write UTC or +08:00")
    return -ahead if sign == "-" else ahead


def value_of(text: str) -> Decimal:
    """Billing units of a cell. Raises Unreadable."""
    if _GROUPED.fullmatch(text):
        text = text.replace(",", "")
    if not text.isascii() or not _VALUE.fullmatch(text):
        raise Unreadable(f"{text[:40]!r} is no usage value")
    return Decimal(text)


def is_refused(status: str) -> bool:
    """Whether the marketplace's own word for a line says that it does not count."""
    said = status.casefold()
    return any(word in said for word in _REFUSED)
