"""The SDR management list (话单管理) of the seller's console, as CSV. Pure."""

import csv
import io
from collections.abc import Iterable
from typing import Final

from .stored import State, StoredRecord

COLUMNS: Final = (
    "metering_sn",
    "instance_id",
    "begin_time",
    "end_time",
    "usage_value",
    "status",
    "reason",
)
CHINESE: Final = ("话单编号", "实例ID", "开始时间", "结束时间", "用量", "状态", "原因")


def sdr_csv(records: Iterable[StoredRecord], chinese: bool = False) -> str:
    """One row for each record, in the order of arrival, under a header; CRLF as RFC 4180 has it.

    A record that was sent again unchanged stands there once: by what came of the first.
    """
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(CHINESE if chinese else COLUMNS)
    for stored in records:
        if stored.state is not State.REPEAT:
            record = stored.record
            shown = [record.get(name, "") for name in COLUMNS[:5]]
            writer.writerow([*shown, stored.state.value, stored.reason])
    return text.getvalue()
