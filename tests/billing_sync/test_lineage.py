import pytest

from billing_sync.lineage import Reason, Step, next_step, told_by, why
from metering.protocol import Content, Head, head_of

EMPTY = Head("", "", "", False, "", "", "")
WHOLE = Head("e", "d1", "d1", False, "", "", "")
ASIDE = Head("e", "d2", "d1", False, "d2", "d1", "e")


@pytest.mark.parametrize(
    ("head", "last", "step"),
    [
        (WHOLE, "d1", Step.SET_ASIDE),
        (ASIDE, "d1", Step.COMMIT),
        (ASIDE, "d2", Step.DROP),
        (EMPTY, "d1", Step.RESET),
        (WHOLE._replace(epoch="other"), "d1", Step.RESET),  # an old master came back
        (WHOLE, "d2", Step.RESET),  # set back behind the last commit
        (WHOLE._replace(last="d9"), "d1", Step.RESET),  # SQL is behind
        (ASIDE, "d0", Step.RESET),
        (ASIDE._replace(last="d9"), "d1", Step.RESET),  # live and drain do not belong together
        (ASIDE._replace(drain_epoch="old"), "d1", Step.RESET),
        (EMPTY._replace(drain_id="d2", drain_prev="d1", drain_epoch="e"), "d1", Step.RESET),
    ],
)
def test_the_step_follows_from_the_ids(head: Head, last: str, step: Step) -> None:
    """Only an unbroken chain is continued."""
    assert next_step(epoch="e", last=last, head=head) is step


KNOWN = {"e0", "e", "d0", "d1", "d2"}  # the ledger's epochs and drains; its last is d2


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        (EMPTY, Reason.EMPTY),
        # only `live` was evicted
        (EMPTY._replace(drain_id="d3", drain_prev="d2", drain_epoch="e"), Reason.LOST_LIVE),
        # only `drain` was: nobody knows its id, but what it followed is known
        (Head("e", "d3", "d2", True, "", "", ""), Reason.LOST_ASIDE),
        # Redis as it was some drains ago, at rest and with a set-aside
        (Head("e", "d1", "d1", True, "", "", ""), Reason.STALE),
        (Head("e", "d1", "d0", True, "d1", "d0", "e"), Reason.STALE),
        (Head("e0", "d0", "d0", True, "", "", ""), Reason.STALE),
        # ... and with one that was lost and never committed
        (Head("e", "dx", "d1", True, "dx", "d1", "e"), Reason.STALE),
        (Head("e0", "dx", "d0", True, "", "", ""), Reason.STALE),
        # SQL behind by one drain, which Redis knows to have been committed
        (Head("e", "d3", "d3", True, "", "", ""), Reason.SET_BACK),
        # SQL behind by one drain and more, the newest of which is still set aside
        (Head("e", "d4", "d3", True, "d4", "d3", "e"), Reason.SET_BACK),
        (EMPTY._replace(drain_id="d4", drain_prev="d3", drain_epoch="e"), Reason.SET_BACK),
        # SQL from before the last reset, or another ledger altogether
        (Head("e1", "d2", "d2", False, "", "", ""), Reason.SET_BACK),
        (Head("e", "d3", "d2", False, "d3", "d2", "e1"), Reason.SET_BACK),
        # a Redis that an older version wrote says less
        (Head("e", "d3", "", True, "", "", ""), Reason.STALE),
    ],
)
def test_who_was_set_back(head: Head, reason: Reason) -> None:
    """Only ids that nobody but the ledger can have given away tell that it is the ledger."""
    assert next_step(epoch="e", last="d2", head=head) is Step.RESET
    assert why(head, last="d2", known=KNOWN) is reason


def test_a_set_aside_that_the_ledger_forgot_is_committed_again() -> None:
    """SQL set back by the one drain that Redis still holds: it follows as it did the first time."""
    head = Head("e", "d3", "d2", True, "d3", "d2", "e")
    assert next_step(epoch="e", last="d2", head=head) is Step.COMMIT


def test_what_redis_can_only_have_from_the_ledger() -> None:
    """Not the id of a set-aside: that is made there."""
    assert set(told_by(Head("e", "d4", "d3", True, "d4", "d2", "f"))) == {"e", "d3", "d2", "f"}
    assert list(told_by(EMPTY)) == []


def test_the_lineage_of_content_at_hand() -> None:
    """As the script would have answered it."""
    live = Content("e", "d2", "", {}, {}, "d1")
    drain = Content("e", "d1", "d2", {}, {}, "d0")
    assert head_of(live, drain) == ASIDE
    assert head_of(None, None) == EMPTY
    assert head_of(Content("e", "d1", "", {}, {}, "d1"), None) == WHOLE
