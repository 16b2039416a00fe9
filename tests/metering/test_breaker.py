from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from metering.breaker import FAILURES, FIRST_PAUSE_S, LONGEST_PAUSE_S, Breaker


def opened(now_s: float = 0.0) -> Breaker:
    breaker = Breaker()
    for _ in range(FAILURES):
        breaker.failed(now_s, "refused")
    return breaker


def test_a_lost_reply_is_no_outage() -> None:
    """Only failures in a row open it; an answer in between starts the count again."""
    breaker = Breaker()
    for _ in range(10):
        for _ in range(FAILURES - 1):
            breaker.failed(0, "time-out")
        breaker.succeeded()
    assert not breaker.open
    assert breaker.allows(0)


def test_an_open_breaker_leaves_redis_alone() -> None:
    """Nothing is allowed until the pause is over, then one call is."""
    breaker = opened(10)
    assert breaker.open
    assert not breaker.allows(10)
    assert not breaker.allows(10 + FIRST_PAUSE_S - 0.01)
    assert breaker.allows(10 + FIRST_PAUSE_S)
    assert not breaker.allows(10 + FIRST_PAUSE_S)


def test_a_probe_that_is_answered_closes_it() -> None:
    """From then on every call is allowed, and the next outage starts with a short pause."""
    breaker = opened(0)
    assert breaker.allows(1)
    was_open = breaker.open
    breaker.succeeded()
    assert (was_open, breaker.open) == (True, False)
    assert breaker.allows(1)
    for _ in range(FAILURES):
        breaker.failed(2, "refused")
    assert breaker.allows(2 + FIRST_PAUSE_S)


def test_the_pause_doubles_up_to_a_few_seconds() -> None:
    """An outage of hours costs a probe every four seconds."""
    breaker, now, pauses = opened(0), 0.0, []
    for _ in range(6):
        pause = next(p / 4 for p in range(1, 100) if breaker.allows(now + p / 4))
        now += pause
        breaker.failed(now, "refused")
        pauses.append(pause)
    assert pauses == [0.5, 1.0, 2.0, 4.0, 4.0, 4.0]


def test_a_probe_that_never_ends_is_followed_by_another() -> None:
    """It was cancelled and told nobody: that must not keep the breaker open forever."""
    breaker = opened(0)
    assert breaker.allows(1)
    assert not breaker.allows(1 + LONGEST_PAUSE_S - 0.01)
    assert breaker.allows(1 + LONGEST_PAUSE_S)


def test_failures_are_counted_by_kind() -> None:
    """Swallowed does not mean unseen."""
    breaker = opened(0)
    breaker.failed(1, "time-out")
    breaker.succeeded()
    assert breaker.failures == {"refused": FAILURES, "time-out": 1}


class Step(NamedTuple):
    after_s: float
    what: str


steps = st.lists(
    st.builds(Step, st.floats(0, 10), st.sampled_from(["ask", "fail", "succeed"])), max_size=60
)


@given(steps=steps)
def test_whatever_happens_it_asks_again_soon(steps: list[Step]) -> None:
    """After any history a call is allowed within the longest pause, and an answer closes it."""
    breaker, now, failed = Breaker(), 0.0, 0
    for step in steps:
        now += step.after_s
        if step.what == "ask":
            breaker.allows(now)
        elif step.what == "fail":
            breaker.failed(now, "x")
            failed += 1
        else:
            breaker.succeeded()
            assert not breaker.open
            assert breaker.allows(now)
    assert breaker.failures.get("x", 0) == failed
    assert breaker.allows(now + LONGEST_PAUSE_S)
    breaker.succeeded()
    assert breaker.allows(now)


@given(asked=st.lists(st.floats(0, 0.2), min_size=1, max_size=400))
def test_a_dead_redis_is_asked_seldom(asked: list[float]) -> None:
    """However often a loop turns, the calls that reach a dead Redis are few."""
    breaker, now, calls = Breaker(), 0.0, 0
    for pause in asked:
        now += pause
        if breaker.allows(now):
            calls += 1
            breaker.failed(now, "refused")
    assert calls <= FAILURES + 4 + now / LONGEST_PAUSE_S
