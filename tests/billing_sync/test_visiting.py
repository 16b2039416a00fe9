"""The order in which partitions are visited when some do not answer."""

from hypothesis import given
from hypothesis import strategies as st

from billing_sync.visiting import MOST_FAILURES, Visits


def run(visits: Visits, partitions: int, away: set[int], *, cheap: bool = False) -> list[int]:
    """One run; what it visited."""
    visited = []
    for partition in visits.begin(partitions):
        visited.append(partition)
        if partition not in away:
            visits.went_well(partition)
        elif not visits.failed(partition, cheap=cheap):
            break
    return visited


def test_when_all_is_well_it_is_their_order() -> None:
    """Every run, all of them."""
    visits = Visits()
    assert run(visits, 4, set()) == run(visits, 4, set()) == [0, 1, 2, 3]


def test_who_fails_comes_last_and_who_waits_longest_first() -> None:
    """Until it answers again."""
    visits = Visits()
    assert run(visits, 6, {1, 4}) == [0, 1, 2, 3, 4, 5]
    assert run(visits, 6, {1, 4}) == [0, 2, 3, 5, 1, 4]
    assert run(visits, 6, {4}) == [0, 2, 3, 5, 1, 4]
    assert run(visits, 6, set()) == [0, 1, 2, 3, 5, 4]
    assert run(visits, 6, set()) == [0, 1, 2, 3, 4, 5]


def test_a_run_that_gave_up_goes_on_behind() -> None:
    """So the first ones do not starve the last."""
    visits = Visits()
    everywhere = set(range(8))
    assert run(visits, 8, everywhere) == [0, 1, 2]
    assert run(visits, 8, everywhere) == [3, 4, 5]
    assert run(visits, 8, everywhere) == [6, 7, 0]
    assert run(visits, 8, everywhere) == [1, 2, 3]


def test_cheap_failures_end_no_run() -> None:
    """A node that is known to be away answers at once."""
    visits = Visits()
    assert run(visits, 8, set(range(7)), cheap=True) == list(range(8))


@given(st.integers(1, 40), st.sets(st.integers(0, 39)), st.integers(0, 5))
def test_nobody_starves(partitions: int, away: set[int], runs_before: int) -> None:
    """Whatever failed before: within bounded runs all that answer are visited, then in each run."""
    visits = Visits()
    for _ in range(runs_before):
        run(visits, partitions, set(range(partitions)))
    seen: set[int] = set()
    for _ in range(2 * partitions // MOST_FAILURES + 2):
        visited = run(visits, partitions, away)
        assert len(visited) == len(set(visited))
        assert len(away & set(visited)) <= MOST_FAILURES
        seen |= set(visited)
    assert seen >= set(range(partitions)) - away
    assert set(run(visits, partitions, away)) >= set(range(partitions)) - away
