from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from tallygate.top.samples import Control
from tallygate.top.view import MOST_CUSTOMERS, growth, view
from tests.tallygate.top.rounds import control, silent, taken, worker

counts = st.integers(0, 10**12)
seconds = st.floats(0.1, 100)


@given(counts, counts, seconds)
def test_a_rate_is_the_growth_by_the_time(before: int, more: int, passed: float) -> None:
    """Whatever was counted before."""
    seen = view(taken(5.0, worker(calls=before)), taken(5.0 + passed, worker(calls=before + more)))
    assert abs(seen.rates["calls"] * seen.seconds - more) <= 1e-6 * max(more, 1)
    assert seen.workers[0].calls_s == seen.rates["calls"]


@given(counts, counts)
def test_no_rate_is_below_zero(before: float, now: float) -> None:
    """A counter that went back began anew."""
    assert growth(before, now) >= 0
    seen = view(taken(0, worker(tokens=before)), taken(1, worker(tokens=now)))
    assert seen.rates["tokens"] >= 0


@given(st.lists(st.tuples(counts, counts), min_size=1, max_size=5))
def test_rates_of_workers_add_up(pairs: list[tuple[int, int]]) -> None:
    """The total is theirs."""
    named = [(f"gateway-{at}", was, was + more) for at, (was, more) in enumerate(pairs)]
    before = taken(0, *(worker(name, calls=was) for name, was, _ in named))
    now = taken(2, *(worker(name, calls=is_now) for name, _, is_now in named))
    seen = view(before, now)
    total = sum(each.calls_s or 0 for each in seen.workers)
    assert abs(seen.rates["calls"] - total) <= 1e-6 * max(total, 1)
    assert seen.open == 2 * len(pairs)


def test_a_worker_that_was_started_again() -> None:
    """What it counted since is what it grew by; one seen for the first time has no rate yet."""
    seen = view(
        taken(0, worker(pid=1, calls=1000)),
        taken(2, worker(pid=2, calls=10), worker("gateway-1", calls=500)),
    )
    assert [each.calls_s for each in seen.workers] == [5.0, None]
    assert seen.rates["calls"] == 5.0


def test_a_worker_that_is_silent() -> None:
    """It is named, and has no figures."""
    seen = view(taken(0, worker(calls=1)), taken(1, silent()))
    (shown,) = seen.workers
    assert (shown.up, shown.calls_s, shown.open) == (False, None, None)
    assert "gateway does not answer" in seen.attention


@given(st.dictionaries(st.text(min_size=1, max_size=3), st.tuples(counts, counts), max_size=30))
def test_the_busiest_customers_come_first(used: dict[str, tuple[int, int]]) -> None:
    """By what they use now; no more of them than fit on a screen."""
    before = {(c, "tokens_total"): was for c, (was, _) in used.items()}
    now = {(c, "tokens_total"): was + more for c, (was, more) in used.items()}
    seen = view(taken(0, control=control(before)), taken(1, control=control(now)))
    rates = [each.tokens_s or 0 for each in seen.customers]
    assert rates == sorted(rates, reverse=True)
    assert len(seen.customers) == min(len(used), MOST_CUSTOMERS)
    busiest = max((more for _, more in used.values()), default=0)
    assert not rates or abs(rates[0] - busiest) <= 1e-3 * max(busiest, 1)


def test_without_redis_customers_have_no_rates() -> None:
    """What is not known is not made up; that it is not known is said."""
    blind = replace(control({("c", "requests"): 5}), live=False)
    seen = view(taken(0, control=control()), taken(1, control=blind))
    assert [(each.requests, each.requests_s) for each in seen.customers] == [(5, None)]
    assert "what Redis holds cannot be read" in seen.attention


def test_the_next_deadline_and_the_records() -> None:
    """The nearest one, by its name; states without records are left out."""
    standing = control(
        deadlines_s={"hourly": 300.0, "daily": 7000.0}, records={"sent": 4.0, "held": 0.0}
    )
    seen = view(taken(0), taken(1, control=standing))
    assert (seen.next_deadline, seen.next_deadline_s) == ("hourly", 300.0)
    assert seen.records == {"sent": 4}
    assert seen.attention == ()


def test_open_windows_where_they_are_not_told() -> None:
    """By when the last one was closed; unknown before the first."""
    for closed_ago_s, windows in ((0.0, None), (600.0, 1), (3700.0, 2)):
        standing = Control(True, {"closed_ago_s": closed_ago_s})
        assert view(taken(0), taken(1, control=standing)).windows_open == windows
    told = Control(True, {"windows_open": 3.0, "closed_ago_s": 600.0})
    assert view(taken(0), taken(1, control=told)).windows_open == 3


def test_what_needs_a_person() -> None:
    """Each in a sentence that says what to look at."""
    full = replace(worker("gateway-1"), writable=False, now={"redis_down": 1.0, "replaying": 2.0})
    standing = Control(
        True,
        {"ledger_up": 0.0, "stuck_partitions": 2.0},
        {"records": {"held": 3.0}, "missed": {"hourly": 1.0}},
        billing="stopped: set back",
    )
    seen = view(taken(0), taken(1, full, control=standing))
    assert seen.attention == (
        "billing is stopped: set back",
        "the ledger does not answer",
        "1 usage records missed their hourly deadline",
        "3 usage records are held; see `tallygate records list --state held`",
        "2 partitions cannot be drained",
        "gateway-1: the journal takes no more calls",
        "gateway-1: Redis is down; calls go on, the journal keeps them",
        "gateway-1: partitions are replayed from disk",
    )
    alone = replace(taken(1, worker()), control=None)
    assert view(alone, alone).attention == ("the control plane does not answer",)
