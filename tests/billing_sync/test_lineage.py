import pytest

from billing_sync.lineage import Step, next_step
from metering.protocol import Head

WHOLE = Head("e", "d1", False, "", "", "")
ASIDE = Head("e", "d2", False, "d2", "d1", "e")


@pytest.mark.parametrize(
    ("head", "last", "step"),
    [
        (WHOLE, "d1", Step.SET_ASIDE),
        (ASIDE, "d1", Step.COMMIT),
        (ASIDE, "d2", Step.DROP),
        (Head("", "", False, "", "", ""), "d1", Step.RESET),  # emptied
        (WHOLE._replace(epoch="other"), "d1", Step.RESET),  # an old master came back
        (WHOLE, "d2", Step.RESET),  # set back behind the last commit
        (WHOLE._replace(last="d9"), "d1", Step.RESET),  # SQL is behind
        (ASIDE, "d0", Step.RESET),
        (ASIDE._replace(last="d9"), "d1", Step.RESET),  # live and drain do not belong together
        (ASIDE._replace(drain_epoch="old"), "d1", Step.RESET),
        (Head("", "", False, "d2", "d1", "e"), "d1", Step.RESET),  # live was lost, drain was not
    ],
)
def test_the_step_follows_from_the_ids(head: Head, last: str, step: Step) -> None:
    """Only an unbroken chain is continued."""
    assert next_step(epoch="e", last=last, head=head) is step
