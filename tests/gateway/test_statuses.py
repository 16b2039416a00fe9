"""How an instance stands, and what is said of it."""

from pathlib import Path

import pytest

from gateway.statuses import GRACE_MS, REFUSALS, Standing, nearest, passes, standing_of
from metering.entitlement import EntitledInstance, InstanceStatus

ACTIVE, FROZEN = InstanceStatus.ACTIVE, InstanceStatus.FROZEN
RELEASED, CREATING = InstanceStatus.RELEASED, InstanceStatus.CREATING
NOW = 10 * GRACE_MS


@pytest.mark.parametrize(
    ("status", "expires", "standing"),
    [
        (ACTIVE, 0, Standing.ACTIVE),
        (ACTIVE, NOW + 1, Standing.ACTIVE),
        (ACTIVE, NOW, Standing.IN_GRACE),
        (ACTIVE, NOW - GRACE_MS + 1, Standing.IN_GRACE),
        (ACTIVE, NOW - GRACE_MS, Standing.RELEASED),
        (FROZEN, 0, Standing.FROZEN),
        (FROZEN, NOW + 1, Standing.FROZEN),
        (FROZEN, NOW, Standing.IN_GRACE),
        (FROZEN, NOW - GRACE_MS, Standing.RELEASED),
        (CREATING, 0, Standing.CREATING),
        (CREATING, NOW, Standing.CREATING),
        (RELEASED, 0, Standing.RELEASED),
        (RELEASED, NOW + 1, Standing.RELEASED),
    ],
)
def test_status_and_expiry_make_the_standing(
    status: InstanceStatus, expires: int, standing: Standing
) -> None:
    """For 15 days what expired may be renewed; a frozen one whose time is not up is due otherwise."""
    assert standing_of(EntitledInstance("i", "P", status, expires), NOW) is standing


def test_a_trial_ends_in_its_own_words() -> None:
    """It is bought, not renewed."""
    trial = EntitledInstance("i", "P", ACTIVE, NOW, trial=True)
    assert standing_of(trial, NOW - 1) is Standing.TRIAL
    assert standing_of(trial, NOW) is Standing.TRIAL_OVER


def test_every_standing_passes_or_is_refused() -> None:
    """There is none without an answer, and none with both."""
    assert {each for each in Standing if not passes(each)} == set(REFUSALS)


def test_of_several_the_nearest_to_use_is_said() -> None:
    """Renewing one is less than buying another."""
    assert nearest({Standing.RELEASED, Standing.IN_GRACE}) is Standing.IN_GRACE
    assert nearest({Standing.RELEASED, Standing.CREATING}) is Standing.CREATING
    assert nearest(set()) is Standing.NOT_BOUGHT


def test_the_docs_show_the_table() -> None:
    """As it is."""
    page = (Path(__file__).parents[2] / "docs" / "answers.md").read_text()
    for standing, said in REFUSALS.items():
        row = f"| `{standing}` | {said.status} `{said.code}` | {said.text} | {said.text_zh} |"
        assert row in page
