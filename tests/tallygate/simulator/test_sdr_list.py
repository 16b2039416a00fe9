"""The SDR management list as CSV."""

import csv
import io

from tallygate.simulator.sdr_list import COLUMNS, sdr_csv
from tallygate.simulator.stored import State, StoredRecord
from tests.tallygate.simulator.stage import NOW_MS, record


def stored(state: State, reason: str = "", **fields: object) -> StoredRecord:
    made = StoredRecord(record("i-1", 0, **fields), NOW_MS)
    made.state, made.reason = state, reason
    return made


def test_rows():
    """One for each record with its fate; what was merely sent again stands there once."""
    listed = sdr_csv(
        [
            stored(State.COLLECTED),
            stored(State.REPEAT),
            stored(State.REFUSED, 'not "good", this', metering_sn=None),
        ]
    )
    first, second = csv.DictReader(io.StringIO(listed))
    assert tuple(first) == COLUMNS
    assert (first["metering_sn"], first["status"], first["reason"]) == ("sn-i-1-0", "collected", "")
    assert (first["begin_time"], first["usage_value"]) == ("20260921T141320Z", "1.5")
    assert (second["metering_sn"], second["reason"]) == ("", 'not "good", this')


def test_chinese_headers():
    """The same columns under the console's other language."""
    english, chinese = (
        sdr_csv([stored(State.VALID)], each).split("\r\n") for each in (False, True)
    )
    assert chinese[0] == "话单编号,实例ID,开始时间,结束时间,用量,状态,原因"
    assert english[1:] == chinese[1:]
