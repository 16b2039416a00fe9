"""How the results of drills look."""

import json
from dataclasses import replace

from tallygate.drills.books import Books, Seen
from tallygate.drills.judging import Answered, Evidence, Item, Recorded, judge
from tallygate.drills.results import Result, result_of, unexpected
from tallygate.drills.showing import lines, proof

QUANTITIES = {"requests": 1, "tokens_in": 3, "tokens_out": 5}
AMOUNTS = {Item("ada", "", meter): value for meter, value in QUANTITIES.items()}
RECORD = Recorded("r-1", "a", 1, 1000, "ada", True, QUANTITIES, AMOUNTS)
EVIDENCE = Evidence(
    answered={"r-1": Answered("ada", 3, 5, True), "r-2": Answered("ada", 1, 9, False)},
    seen={"r-1": Seen("ada", 3, 5)},
    records=[RECORD],
    counted=AMOUNTS,
    partitions=8,
    uncertain=frozenset({"r-2"}),
)


def books() -> Books:
    kept = Books(begun=2, torn=1)
    kept.saw({"x-request-id": "r-1"}, Seen("ada", 3, 5))
    return kept


def result() -> Result:
    return result_of("kill-worker", 7, books(), EVIDENCE, judge(EVIDENCE))


def test_a_result_has_every_count() -> None:
    """Requests by who counted them, tokens by all, what went wrong for customers."""
    found = result()
    assert found.passed
    assert (found.answered, found.seen, found.records, found.uncertain) == (1, 1, 1, 1)
    assert found.tokens == {"seen": 8, "answered": 8, "journal": 8, "counted": 8}
    assert (found.loss, found.double, found.torn) == (0, 0, 1)


def test_what_customers_notice_is_a_problem() -> None:
    """503 without a hint, ids that were given twice or not at all, no answer whatever."""
    kept = books()
    kept.was_refused(503, {})
    kept.saw({"x-request-id": "r-1"}, Seen("ada", 3, 5))
    kept.saw({}, Seen("ada", 3, 5))
    found = result_of("x", 7, kept, EVIDENCE, judge(EVIDENCE))
    assert len(found.problems) == 3
    silent = result_of("x", 7, Books(), EVIDENCE, judge(EVIDENCE))
    assert silent.problems == ["no call was answered"]


def test_a_fault_that_harms_no_worker_is_noticed_by_nobody() -> None:
    """No uncertain request where no worker died; no broken call where none was interrupted."""
    found = result()
    assert unexpected(found, workers_died=True, interrupted=True) == []
    assert unexpected(found, workers_died=False, interrupted=False) == [
        "1 requests are uncertain, though no worker died",
        "customers noticed the fault in 1 calls",
    ]


def test_lines_say_what_was_found() -> None:
    """All of it, and what is wrong last."""
    text = "\n".join(lines(result()))
    assert text.startswith("kill-worker: PASSED (seed 7)")
    for part in ("answered 1,", "uncertain 1", "loss 0, double count 0", "torn 1", "recovered  -"):
        assert part in text
    failed = Result("x", 7, problems=["something is lost"])
    assert list(lines(failed))[-1].split() == ["PROBLEM", "something", "is", "lost"]


def test_a_result_is_json_for_scripts() -> None:
    """With the verdict in it."""
    document = json.loads(json.dumps(result().as_json()))
    assert (document["passed"], document["tokens"]["journal"]) == (True, 8)


def test_a_proof_is_a_table() -> None:
    """A row for each drill, as wide as its head; one that failed is named on top."""
    failed = Result("sql-locked", 8, problems=["something is lost"], notes=["so it was"])
    text = proof([result(), failed], {"Python": "3.11"})
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) == 4
    assert len({row.count("|") for row in rows}) == 1
    assert "**Not proved: sql-locked.**" in text
    assert "* Python: 3.11" in text
    assert "* sql-locked: PROBLEM: something is lost" in text
    assert "**Loss 0, double count 0.**" in proof([result()], {})
    assert "Power cuts took" not in proof([result()], {})
    cut = replace(result(), lost_in_cut=3)
    assert "Power cuts took 3 requests" in proof([cut, result()], {})
