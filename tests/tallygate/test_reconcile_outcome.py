"""What a reconciliation found, as the metrics read it."""

from collections import Counter
from pathlib import Path

import pytest

from billing_sync.reconciliation_metrics import Outcome, read
from metering.windows import Window
from tallygate.reconciliation.comparing import Row, Verdict
from tallygate.reconciliation.outcome import note
from tallygate.reconciliation.reporting import Report
from tallygate.reconciliation.terms import EVERYTHING, Held, Place


def row(meter: str, journal: int, held: int, verdict: Verdict) -> Row:
    """One place of a report."""
    place = Place(Window(1), "cust-1", "", meter)
    return Row(place, 0, journal, Held(held), 0, verdict)


def report(*rows: Row) -> Report:
    """A report of these places."""
    return Report(5, EVERYTHING, EVERYTHING, 1, [], list(rows), [], [], [], [], [], Counter())


def test_only_what_nothing_explains_is_a_difference(tmp_path: Path) -> None:
    """Both ways of differing add up; a meter without any is 0."""
    found = report(
        row("requests", 5, 5, Verdict.EQUAL),
        row("tokens_in", 5, 7, Verdict.DIFFERS),
        row("tokens_in", 5, 4, Verdict.DIFFERS),
        row("tokens_out", 5, 9, Verdict.ELSEWHERE),
    )
    note(tmp_path / "reports", found, exact=False)
    expected = {"requests": 0, "tokens_in": 3, "tokens_out": 0}
    assert read(tmp_path / "reports") == Outcome(5, False, expected)


def test_a_folder_that_cannot_be_written_is_only_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The report itself was shown."""
    (tmp_path / "reports").write_text("")
    note(tmp_path / "reports", report(), exact=True)
    assert "not noted" in caplog.text
