from typing import Any

import pytest

from tallygate.demo.report import Report
from tallygate.demo.tally import STATIONS, Row

EQUAL = Row("requests", dict.fromkeys(STATIONS, 5))
RECORD = {"state": "collected"}


def report(**changes: Any) -> Report:
    fields: dict[str, Any] = {
        "requests": 5,
        "rows": [EQUAL],
        "packages": [],
        "records": [RECORD],
        "findings": [],
    }
    return Report(**fields | changes)


def test_agreement_is_exact() -> None:
    """Equal counts, collected records, no findings."""
    assert report().exact


@pytest.mark.parametrize(
    "change",
    [
        {"rows": [EQUAL, Row("tokens_in", {"client": 1, "pushed": 2})]},
        {"records": [RECORD, {"state": "refused"}]},
        {"findings": [{"check": "x"}]},
    ],
    ids=["a difference", "a refused record", "a finding"],
)
def test_anything_else_is_not(change: dict[str, Any]) -> None:
    """One of them is enough."""
    assert not report(**change).exact


def test_scripts_get_the_difference_of_every_meter() -> None:
    """The JSON has all stations and one verdict."""
    shown = report().as_json()
    assert shown["exact"] is True
    assert shown["meters"] == [{"meter": "requests", **EQUAL.counts, "difference": 0}]
    assert shown["usage_records"] == 1
