"""Settings and small things kept."""

from tallygate.simulator.app import build_app
from tallygate.simulator.clock import ShiftedClock, WallClock
from tallygate.simulator.findings import KEPT, Finding, FindingLog
from tests.tallygate.simulator.stage import AK, KEY, NOW_MS, SK, HandClock, settings


def test_secrets_are_not_in_the_repr():
    """Neither the keys nor the AK."""
    shown = repr(settings())
    assert not any(secret in shown for secret in (KEY, AK, SK))


def test_building_does_nothing():
    """An app that is never served needs no closing."""
    assert build_app(settings(), WallClock()).routes


def test_shifted_clock():
    """Another clock plus an offset."""
    clock = ShiftedClock(HandClock())
    clock.offset_ms = -5
    assert clock.now_ms() == NOW_MS - 5


def test_findings_are_bounded():
    """The oldest go, the count remains."""
    log = FindingLog()
    log.add(*(Finding("check", str(number)) for number in range(KEPT + 5)))
    assert log.total == KEPT + 5
    assert len(log.as_json()) == KEPT
    assert log.as_json()[0]["message"] == "5"


def test_subject_is_kept():
    """A finding that knows whom it concerns is not renamed."""
    assert Finding("check", "message", "i-1").about("other").subject == "i-1"
    assert Finding("check", "message").about("other").subject == "other"
