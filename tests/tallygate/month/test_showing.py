"""How a month looks."""

import json
from dataclasses import replace

from tallygate.month.balance import SCALE
from tallygate.month.outcome import Outcome
from tallygate.month.showing import amount, lines, section
from tallygate.month.terms import three_days
from tallygate.month.trouble import Kind
from tallygate.simulator.findings import Finding
from tests.tallygate.month.test_balance import books

COUNTS = {
    "calls served": 9,
    "records sent": 1,
    "lanes adopted": 1,
    "late rows": 1,
    "calls refused": 1,
}
GOOD = Outcome(
    terms=three_days(seed=3),
    books=books(),
    counts=COUNTS,
    noticed=dict.fromkeys(Kind, 1),
    pushes={"accepted": 2},
    findings=[],
    uncertain=["r-1"],
    unseen=["r-1"],
    lost=[],
    waiting=0,
)


def test_a_good_month_is_a_table() -> None:
    """With every figure and difference 0, as lines, as Markdown and as JSON."""
    assert GOOD.passed
    text = "\n".join(lines(GOOD))
    assert text.startswith("month: PASSED (seed 3, 30 customers, 3 days)")
    table = [line for line in section(GOOD).splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in table}) == 1
    assert "| overshoot | 5 | 5 |" in table
    assert "| **difference** | **0** | **0** |" in table
    assert "**Difference 0, per instance and in total.**" in section(GOOD)
    assert json.loads(json.dumps(GOOD.as_json()))["passed"] is True


def test_a_break_is_told_first() -> None:
    """With the books of its instance."""
    failed = replace(GOOD, books=books(carry={}))
    assert failed.problems[0].startswith("window 7, i: the ledger holds")
    assert failed.problems[1].startswith("i (IN)")
    assert "**Not proved.**" in section(failed)
    assert "FAILED" in next(lines(failed))


def test_what_was_not_shown_is_a_problem() -> None:
    """A trouble nobody noticed, a request named wrongly, a complaint of the marketplace."""
    complaint = Finding("sdr-refused", "too old", "i")
    failed = replace(
        GOOD,
        counts={},
        noticed=dict.fromkeys(Kind, 0),
        findings=[complaint, complaint, Finding("result-code", "as ordered")],
        uncertain=[],
        lost=["lane-1"],
        waiting=1,
    )
    said = "\n".join(failed.problems)
    for part in ("nobody noticed", "there were no", "2 times: sdr-refused", "lane-1", "1 deeds"):
        assert part in said
    assert "uncertain are 0 requests, unseen were 1" in said
    assert "as ordered" not in said


def test_amounts_show_what_is_below_a_unit() -> None:
    """Only where there is any."""
    assert (amount(5 * SCALE), amount(5 * SCALE + 1), amount(-1)) == ("5", "5.0001", "-0.0001")
