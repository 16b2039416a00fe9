"""Which upstream gets a call, with upstreams that are only counted."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.balancing import Balancer
from gateway.pool import Bounds, Pool
from gateway.routing import Upstream
from gateway.settings import HealthSettings
from tests.gateway.callers import Hearing
from tests.gateway.test_pool import Dials, FakeLoop


@dataclass
class Stage:
    """A balancer over so many upstreams, its time and its dice."""

    count: int = 2
    health: HealthSettings = field(default_factory=HealthSettings)
    dice: float = 0.0

    def __post_init__(self) -> None:
        self.loop = FakeLoop()
        self.dials = [Dials() for _ in range(self.count)]
        self.pools = [
            Pool(Upstream(f"http://up:{n}", b"up", b""), Bounds(), dials, self.loop)
            for n, dials in enumerate(self.dials)
        ]
        self.balancer = Balancer(self.pools, self.health, lambda: self.dice, self.loop.time)

    def fail(self, number: int, times: int = 3) -> None:
        for _ in range(times):
            self.balancer.failed(self.pools[number])

    def picks(self, times: int = 20) -> set[int]:
        """Who gets calls."""
        return {self.pools.index(self.balancer.pick()) for _ in range(times)}

    def later(self, seconds: float) -> list[int]:
        """So much later; who is probed now."""
        self.loop.now_s += seconds
        self.balancer.sweep(self.loop.now_s)
        return [number for number, dials in enumerate(self.dials) if dials.pending]


def test_the_least_busy_is_picked() -> None:
    """Whatever the turn is."""
    stage = Stage(3)
    for number in (0, 0, 2):
        stage.pools[number].take(Hearing())
    assert stage.picks() == {1}


def test_equals_take_turns() -> None:
    """In the long run each gets the same."""
    stage = Stage(3)
    picked = [stage.balancer.pick() for _ in range(30)]
    assert [picked.count(pool) for pool in stage.pools] == [10, 10, 10]


def test_another_attempt_goes_elsewhere() -> None:
    """As long as there is a healthy one that was not tried."""
    stage = Stage(3)
    first, second, third = stage.pools
    assert stage.balancer.pick([first, third]) is second
    assert stage.balancer.pick({first, second, third}) in stage.pools
    assert stage.balancer.retries == 2
    stage.fail(1)
    stage.fail(2)
    assert stage.balancer.pick([first]) is first


def test_failures_in_a_row_eject() -> None:
    """A success in between begins a new row."""
    stage = Stage(2)
    stage.fail(0, 2)
    stage.balancer.succeeded(stage.pools[0])
    stage.fail(0, 2)
    assert stage.picks() == {0, 1}
    stage.fail(0, 1)
    assert stage.picks() == {1}
    assert (stage.balancer.healthy, stage.balancer.ejections) == (1, 1)


@pytest.mark.parametrize("status", [502, 503, 504])
def test_statuses_count_only_where_the_route_says_so(status: int) -> None:
    """An API may answer 503 to one customer without being ill."""
    plain, strict = Stage(), Stage(health=HealthSettings(statuses=[502, 503, 504]))
    for stage in (plain, strict):
        for _ in range(3):
            stage.balancer.answered(stage.pools[0], status)
    assert (plain.balancer.healthy, strict.balancer.healthy) == (2, 1)
    strict.balancer.answered(strict.pools[1], 500)
    assert strict.balancer.conditions[strict.pools[1]].failures == 0


def test_the_last_healthy_one_stays() -> None:
    """It is the least bad; the others are asked sooner, in case one is back."""
    stage = Stage(2, HealthSettings(eject=30))
    stage.fail(0)
    stage.fail(1)
    assert stage.picks() == {1}
    assert stage.later(1.1) == [0]
    stage.dials[0].succeed()
    stage.fail(1, 1)
    assert stage.picks() == {0}


def test_a_single_upstream_is_never_ejected_or_probed() -> None:
    """There is nobody to ask instead."""
    stage = Stage(1)
    stage.fail(0, 50)
    assert stage.picks() == {0}
    assert stage.later(100) == []


def test_it_must_take_a_connection_first() -> None:
    """One probe at a time; until it went well there are no calls."""
    stage = Stage(2, HealthSettings(eject=5))
    stage.fail(0)
    assert stage.later(4.9) == []
    assert stage.later(0.2) == [0]
    stage.later(0.2)
    assert len(stage.dials[0].pending) == 1
    assert stage.picks() == {1}
    stage.dials[0].succeed()
    assert stage.picks() == {0, 1}
    stage.fail(0, 2)  # the row began anew
    assert stage.picks() == {0, 1}


def test_ejections_grow() -> None:
    """Doubled by each in a row, up to a bound, and a little at random."""
    stage = Stage(2, HealthSettings(eject=5, max_eject=60), dice=0.999)
    lengths = []
    stage.fail(0)
    for _ in range(6):
        condition = stage.balancer.conditions[stage.pools[0]]
        lengths.append(round(condition.until_s - stage.loop.now_s, 1))
        stage.later(lengths[-1] + 0.1)
        stage.dials[0].fail()
    assert lengths == [6.2, 12.5, 25.0, 50.0, 75.0, 75.0]


def test_an_upstream_that_stays_well_is_forgiven() -> None:
    """One that fails again soon after is not."""
    stage = Stage(2, HealthSettings(eject=5))
    condition = stage.balancer.conditions[stage.pools[0]]
    for expected in (5, 10):
        stage.fail(0)
        assert condition.until_s - stage.loop.now_s == expected
        stage.later(expected)
        stage.dials[0].succeed()
    stage.later(60)
    stage.fail(0)
    assert condition.until_s - stage.loop.now_s == 5


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["fail", "succeed", "later", "up", "down"]), st.integers(0, 2))
    )
)
def test_somebody_always_gets_calls(events: list[tuple[str, int]]) -> None:
    """Whatever happens: a healthy upstream is picked, and nobody is in twice."""
    stage = Stage(3, HealthSettings(failures=1))
    for event, number in events:
        if event == "fail":
            stage.fail(number, 1)
        elif event == "succeed":
            stage.balancer.succeeded(stage.pools[number])
        elif event == "later":
            stage.later(4)
        elif stage.dials[number].pending:
            stage.dials[number].succeed() if event == "up" else stage.dials[number].fail()
        ejected = {pool for pool, each in stage.balancer.conditions.items() if each.ejected}
        assert stage.balancer.healthy == 3 - len(ejected) > 0
        assert stage.balancer.pick() not in ejected
