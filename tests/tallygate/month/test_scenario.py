"""What happens in a month is decided by its seed alone, and holds everything it should."""

from tallygate.month.calls import GUESTS, Habits
from tallygate.month.scenario import What, deeds
from tallygate.month.terms import START_MS, Terms, month, three_days
from tallygate.month.trouble import Kind, troubles

SMALL = three_days(seed=1)


def test_the_seed_decides() -> None:
    """The same one brings the same month, another one another."""
    other = three_days(seed=2)
    assert deeds(SMALL) == deeds(three_days(seed=1)) != deeds(other)
    assert troubles(SMALL) == troubles(three_days(seed=1)) != troubles(other)
    calls = [Habits(terms).hour(START_MS, []) for terms in (SMALL, SMALL, other)]
    assert calls[0] == calls[1] != calls[2]


def test_customers_do_everything_that_can_be_done() -> None:
    """In time order, within the month."""
    for terms in (SMALL, month(seed=1)):
        done = deeds(terms)
        assert {deed.what for deed in done} == set(What)
        assert done == sorted(done)
        assert all(START_MS < deed.at_ms < terms.end_ms for deed in done)


def test_another_customer_changes_nobody_elses_month() -> None:
    """Each has dice of its own."""
    fewer = Terms(customers=5, days=3, seed=1)
    more = Terms(customers=6, days=3, seed=1)
    last = max(deed.customer for deed in deeds(more))
    assert deeds(fewer) == [deed for deed in deeds(more) if deed.customer != last]


def test_every_dependency_goes_away_twice() -> None:
    """One trouble after the other, all over before the end."""
    for seed in range(20):
        planned = troubles(three_days(seed))
        assert {trouble.kind for trouble in planned} == set(Kind)
        for word in ("Redis", "database|ledger", "marketplace", "gateway"):
            named = [t for t in planned if any(w in t.kind for w in word.split("|"))]
            assert len(named) >= 2
        ends = [trouble.end_ms for trouble in planned]
        begins = [trouble.begin_ms for trouble in planned]
        assert all(end <= begin for end, begin in zip(ends, begins[1:], strict=False))
        assert ends[-1] < SMALL.end_ms


def test_calls_come_around_what_changes_an_instance() -> None:
    """Before and behind it, and from people who bought nothing."""
    release = next(deed for deed in deeds(SMALL) if deed.what is What.RELEASE)
    hour = release.at_ms // 3_600_000 * 3_600_000
    calls = [call.at_ms for call in Habits(SMALL).hour(hour, [release])]
    assert sum(abs(at_ms - release.at_ms) < 10_000 for at_ms in calls) >= 6
    assert calls == sorted(calls)
    assert {c.customer for c in Habits(SMALL).hour(hour, []) if c.vouched} == set(GUESTS)
