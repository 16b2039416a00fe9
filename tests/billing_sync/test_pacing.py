"""What becomes of a batch, and of the next one."""

from dataclasses import replace
from typing import Any

import pytest

from billing_sync.koogallery.outcomes import Blame, Kind, PushOutcome
from billing_sync.models import UsageRecord
from billing_sync.pacing import Pace, backoff_ms, judge

NOW = 1_790_000_000_000
ACCEPTED = PushOutcome(Kind.ACCEPTED, "MKT.0000")
TRANSIENT = PushOutcome(Kind.TRANSIENT, "MKT.0999", "internal error")
AMBIGUOUS = PushOutcome(Kind.AMBIGUOUS, "ReadTimeout", "no answer")
REFUSED = PushOutcome(Kind.PERMANENT, "MKT.9001", "not found", blame=Blame.RECORDS)
NAMED = PushOutcome(
    Kind.PERMANENT, "94060999", "Failed", blame=Blame.RECORDS, abnormal=("b", "stranger")
)
OURS = PushOutcome(Kind.PERMANENT, "MKT.0154", "illegal token", blame=Blame.CALLER)


def batch(*serials: str, attempts: int = 1, alone: bool = False) -> list[UsageRecord]:
    given: dict[str, Any] = {"attempts": attempts, "alone": alone}
    return [UsageRecord(metering_sn=serial, **given) for serial in serials]


def judged(records: list[UsageRecord], outcome: PushOutcome) -> dict[str, dict[str, Any]]:
    """The columns to set, by record."""
    verdicts = judge(records, outcome, NOW)
    found = {serial: columns for serials, columns in verdicts for serial in serials}
    assert sum(len(serials) for serials, _ in verdicts) == len(found)  # each is judged once
    return found


def test_accepted_is_sent() -> None:
    """With the time, and without the errors of earlier attempts."""
    sent = {"state": "sent", "sent_at": NOW, "code": "", "error": ""}
    assert judged(batch("a", "b"), ACCEPTED) == {"a": sent, "b": sent}


def test_the_ones_that_are_named_are_rejected() -> None:
    """The others go again at once; names we did not send mean nothing."""
    found = judged(batch("a", "b", "c"), NAMED)
    assert found["b"] == {"state": "rejected", "code": "94060999", "error": "94060999 Failed"}
    assert found["a"] == found["c"]
    assert (found["a"]["state"], found["a"]["next_attempt"]) == ("pending", NOW)


def test_all_named() -> None:
    """Then nothing goes again."""
    assert {v["state"] for v in judged(batch("b"), NAMED).values()} == {"rejected"}
    named = PushOutcome(Kind.PERMANENT, blame=Blame.RECORDS, abnormal=("a", "b"))
    assert {v["state"] for v in judged(batch("a", "b"), named).values()} == {"rejected"}


def test_refused_without_names() -> None:
    """A batch goes again at once, to be halved; a single record is the one."""
    found = judged(batch("a", "b"), REFUSED)
    assert {(v["state"], v["next_attempt"]) for v in found.values()} == {("pending", NOW)}
    only = judged(batch("a"), REFUSED)["a"]
    assert only == {"state": "rejected", "code": "MKT.9001", "error": "MKT.9001 not found"}


@pytest.mark.parametrize(
    ("outcome", "state"), [(TRANSIENT, "pending"), (AMBIGUOUS, "sending"), (OURS, "pending")]
)
def test_what_goes_again(outcome: PushOutcome, state: str) -> None:
    """Ambiguous ones stay `sending`: nobody knows; nothing is rejected for our keys' sake."""
    for records in (batch("a"), batch("a", "b")):
        for columns in judged(records, outcome).values():
            assert columns["state"] == state
            assert columns["next_attempt"] == NOW + 1000
            assert columns["error"].startswith(outcome.code)


def test_only_a_single_record_is_suspected() -> None:
    """It goes alone from now on, unless the fault is ours."""
    assert judged(batch("a"), AMBIGUOUS)["a"]["alone"] is True
    assert "alone" not in judged(batch("a", "b"), AMBIGUOUS)["a"]
    assert "alone" not in judged(batch("a"), OURS)["a"]


def test_a_single_record_waits_ever_longer() -> None:
    """A batch does not, because it will be halved; Retry-After is kept in any case."""
    assert judged(batch("a", attempts=5), TRANSIENT)["a"]["next_attempt"] == NOW + 16_000
    assert judged(batch("a", "b", attempts=5), TRANSIENT)["a"]["next_attempt"] == NOW + 1000
    assert judged(batch("a", "b", attempts=5), OURS)["a"]["next_attempt"] == NOW + 16_000
    asked = PushOutcome(Kind.TRANSIENT, "HTTP 429", retry_after_s=90.0)
    assert judged(batch("a", "b"), asked)["a"]["next_attempt"] == NOW + 90_000


def test_errors_are_bounded() -> None:
    """Whatever the marketplace writes."""
    outcome = PushOutcome(Kind.TRANSIENT, "x" * 400, "y" * 400)
    assert len(judged(batch("a"), outcome)["a"]["error"]) == 500


@pytest.mark.parametrize(
    ("attempts", "seconds"), [(0, 1), (1, 1), (2, 2), (3, 4), (7, 60), (10**6, 60)]
)
def test_backoff(attempts: int, seconds: int) -> None:
    """Doubling from one second to a minute."""
    assert backoff_ms(attempts) == seconds * 1000


def many(count: int) -> list[UsageRecord]:
    return batch(*(f"r{number}" for number in range(count)))


def test_a_failing_batch_is_halved_and_a_good_one_doubled() -> None:
    """Down to one record, up to the most there may be."""
    pace = Pace(1000, 1000).after(many(1000), REFUSED, NOW)
    assert (pace.size, pace.resume_ms) == (500, 0)
    assert pace.after(many(3), AMBIGUOUS, NOW).size == 1
    assert pace.after(many(1), AMBIGUOUS, NOW).size == 1
    assert pace.after(many(500), ACCEPTED, NOW).size == 1000
    assert Pace(1000, 1000).after(many(9), ACCEPTED, NOW).size == 1000


def test_named_records_do_not_shrink_the_batch() -> None:
    """The marketplace has said which they are."""
    named = replace(NAMED, abnormal=("r7",))
    assert Pace(1000, 1000).after(many(1000), named, NOW).size == 1000


def test_names_of_strangers_do() -> None:
    """They help nobody: the same batch would go again and again for ever."""
    assert Pace(1000, 1000).after(many(1000), NAMED, NOW).size == 500


def test_named_by_instance_and_interval() -> None:
    """As the old interface does, which has no metering_sn."""
    records = batch("a", "b")
    for number, record in enumerate(records):
        record.instance_id, record.begin, record.end = "i", number * 1000, number * 1000 + 1000
    place = ("i", "19700101T000001Z", "19700101T000002Z")
    outcome = PushOutcome(Kind.PERMANENT, "94060999", blame=Blame.RECORDS, abnormal_places=(place,))
    assert {sn: v["state"] for sn, v in judged(records, outcome).items()} == {
        "a": "pending",
        "b": "rejected",
    }
    assert Pace(2, 2).after(records, outcome, NOW).size == 2


def test_an_outage_pauses_everything() -> None:
    """A second while there is something to halve, then ever longer, at most a minute."""
    pace, waits = Pace(4, 4), []
    for _ in range(11):
        pace = pace.after(many(pace.size), TRANSIENT, NOW)
        waits.append((pace.resume_ms - NOW) // 1000)
    assert waits == [1, 1, 1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert pace.after(many(1), ACCEPTED, NOW).failures == 0


def test_our_own_fault_pauses_without_halving() -> None:
    """Every batch would fail alike."""
    pace = Pace(1000, 1000)
    for _ in range(8):
        pace = pace.after(many(1000), OURS, NOW)
    assert (pace.size, pace.resume_ms) == (1000, NOW + 60_000)


def test_a_suspect_says_nothing_about_the_others() -> None:
    """Its failures neither pause nor shrink; but the refusal of our keys does."""
    pace = Pace(1000, 1000)
    suspect = batch("a", alone=True)
    for outcome in (TRANSIENT, AMBIGUOUS, REFUSED, ACCEPTED):
        assert pace.after(suspect, outcome, NOW) == pace
    assert pace.after(suspect, OURS, NOW).resume_ms > NOW


def test_retry_after_is_obeyed() -> None:
    """Nothing at all is pushed before."""
    asked = PushOutcome(Kind.TRANSIENT, "HTTP 429", retry_after_s=90.0)
    assert Pace(4, 4).after(many(4), asked, NOW).resume_ms == NOW + 90_000
