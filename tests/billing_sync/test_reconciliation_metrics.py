"""The last reconciliation, as Prometheus is told of it."""

import json
from pathlib import Path

import pytest

from billing_sync.reconciliation_metrics import LAST, Outcome, families, read


def shown(folder: Path) -> dict[str, float]:
    """Every sample by its name and meter."""
    return {
        sample.name.removeprefix("billing_sync_reconciliation_")
        + sample.labels.get("meter", ""): sample.value
        for family in families(read(folder))
        for sample in family.samples
    }


def test_the_difference_is_shown(tmp_path: Path) -> None:
    """Of each meter, with the time; nothing before the first time."""
    assert shown(tmp_path) == {}
    said = {"at": 5000, "exact": False, "differences": {"requests": 2, "tokens_in": 0}}
    (tmp_path / LAST).write_text(json.dumps(said))
    assert shown(tmp_path) == {
        "differencerequests": 2,
        "differencetokens_in": 0,
        "exact": 0,
        "timestamp_seconds": 5,
    }


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"at": 1}', '{"at": "x", "differences": {}}'])
def test_what_cannot_be_read_is_none(tmp_path: Path, text: str) -> None:
    """Somebody else's file, or half of one."""
    (tmp_path / LAST).write_text(text)
    assert read(tmp_path) == Outcome()
