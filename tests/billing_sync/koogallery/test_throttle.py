"""How long nobody calls after too many calls."""

from hypothesis import given
from hypothesis import strategies as st

from billing_sync.koogallery.throttle import Throttle


def test_ever_longer() -> None:
    """1, 2, 4 … 60 seconds, until it is served."""
    throttle, now_ms = Throttle(), 0
    for seconds in (1, 2, 4, 8, 16, 32, 60, 60):
        throttle.refused(now_ms, None)
        assert throttle.wait_ms(now_ms) == seconds * 1000
        now_ms += seconds * 1000
        assert throttle.wait_ms(now_ms) == 0
    throttle.served()
    throttle.refused(now_ms, None)
    assert throttle.wait_ms(now_ms) == 1000


def test_calls_in_flight_count_once() -> None:
    """Eight that are refused together are no eight refusals in a row."""
    throttle = Throttle()
    for _ in range(8):
        throttle.refused(0, None)
    assert throttle.wait_ms(0) == 1000
    throttle.refused(10, 5.0)
    assert throttle.wait_ms(10) == 5000


@given(st.floats(0, 3600), st.integers(0, 20))
def test_what_is_asked_for_is_granted(seconds: float, refusals: int) -> None:
    """At least; never less than our own time."""
    throttle = Throttle()
    for _ in range(refusals):
        throttle.refused(0, None)
    throttle.refused(0, seconds)
    assert throttle.wait_ms(0) >= max(1000, int(seconds * 1000))
