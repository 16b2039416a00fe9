"""The reading rule: which of the two hashes in Redis the ledger does not hold yet.

That it is obeyed on a real Valkey is shown in test_usage_view.
"""

import pytest

from billing_sync.live import Moment, pending_in_redis
from metering.deltas import DeltaKey
from metering.protocol import Content
from metering.usage import Grade
from metering.windows import Window


def content(drain_id: str = "", *, last: str, epoch: str = "e") -> Content:
    return Content(epoch, last, drain_id, {}, {})


@pytest.mark.parametrize(
    ("live", "drain", "added"),
    [
        (content(last="d1"), None, "live"),
        (content(last="d2"), None, None),  # behind, or ahead of what SQL has seen
        (content(last="d2"), content("d2", last="d1"), "both"),  # set aside, not committed
        (content(last="d1"), content("d1", last="d0"), "live"),  # committed, not deleted
        (content(last="d3"), content("d2", last="d1"), None),  # live and drain of two histories
        (content(last="d2"), content("d2", last="d0"), None),
        (content(last="d2"), content("d2", last="d1", epoch="old"), None),
        (content(last="d1", epoch="other"), None, None),
        (None, None, None),
        (None, content("d2", last="d1"), None),
    ],
)
def test_what_the_ledger_does_not_hold(
    live: Content | None, drain: Content | None, added: str | None
) -> None:
    """SQL stands at epoch e and drain d1."""
    found = pending_in_redis((live, drain), epoch="e", last="d1")
    assert found == {"live": [live], "both": [live, drain], None: None}[added]


def test_both_hashes_are_added() -> None:
    """The same delta may stand in each."""
    key = DeltaKey(Window(1), "c", "i", "chat", "requests", Grade.EXACT)
    pending = [Content("e", "d1", "", {}, {key: 5}), Content("e", "d0", "d1", {}, {key: 7})]
    moment = Moment(None, pending, 0, live=True)
    assert list(moment.deltas()) == [(key, 5), (key, 7)]
