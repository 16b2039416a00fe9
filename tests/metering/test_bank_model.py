"""Whatever befalls lanes, messages, Redis and drains: no more is promised than was bought, and what was
not used comes back."""

from collections.abc import Callable
from random import Random
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from metering.lending import PACKAGE_LIFE_MS, SETTLE_MS
from tests.metering.lending_world import Lane, World

STEPS: Final = 60
ASKED: Final = [None] * 12 + ["request", "reply", "late", "late", "kill"]
SENT: Final = [None] * 6 + ["request", "reply", "late"]


class Play:
    """What may happen next, and how often it does; the dice decide."""

    def __init__(self, world: World, dice: Random, *, goes_back: bool) -> None:
        self.world, self.dice = world, dice
        self.snapshots: list[Any] = []
        odds: dict[Callable[[], object], int] = {
            self.ask: 20,
            self.rush: 10,
            self.call: 15,
            self.end: 10,
            self.flush: 12,
            self.plane: 12,
            self.tell: 3,
            self.buy: 1,
            self.start: 2,
            self.kill: 2,
            self.deliver: 8,
            self.wait: 8,
            self.outage: 4,
            self.ledger_away: 3,
            self.empty: 2,
            self.remember: 4 * goes_back,
            self.go_back: 2 * goes_back,
        }
        self.acts = [act for act, weight in odds.items() for _ in range(weight)]

    def go_on(self) -> str:
        """One more thing happens; its name."""
        act = self.dice.choice(self.acts)
        act()
        return act.__name__

    def lane(self) -> Lane:
        alive = [lane for lane in self.world.lanes if lane.alive]
        return self.dice.choice(alive) if alive else self.start()

    def ask(self) -> None:
        want = self.dice.choice([0, 10, 50, 100])
        least = self.dice.choice([1, want or 1])
        self.world.ask(self.lane(), want, least, self.dice.choice(ASKED))

    def rush(self) -> None:
        """Everybody wants more at once, in no order."""
        alive = [lane for lane in self.world.lanes if lane.alive]
        for lane in self.dice.sample(alive, len(alive)):
            self.world.ask(lane, self.dice.choice([20, 100]))

    def call(self) -> None:
        lane = self.lane()
        for _ in range(self.dice.randrange(6)):
            self.world.call(lane, self.dice.choice([1, 10, 30]))

    def end(self) -> None:
        lane = self.lane()
        for _ in range(self.dice.randrange(len(lane.open) + 1)):
            self.world.end(lane, self.dice.choice([0, 1, 30, 30]))

    def flush(self) -> None:
        self.world.flush(self.dice.choice(self.world.lanes), self.dice.choice(SENT))

    def plane(self) -> None:
        for _ in range(self.dice.randrange(1, 5)):
            self.world.plane(self.dice.choice(SENT))

    def tell(self) -> None:
        self.world.tell(self.dice.choice(SENT))

    def buy(self) -> None:
        self.world.buy(50)

    def start(self) -> Lane:
        lane = self.world.start()
        self.world.flush(lane)
        return lane

    def kill(self) -> None:
        self.world.kill(self.lane())

    def deliver(self) -> None:
        self.world.deliver(self.dice.randrange(100))

    def wait(self) -> None:
        self.world.wait(self.dice.choice([1, 1000, SETTLE_MS, 15_000, PACKAGE_LIFE_MS]))

    def outage(self) -> None:
        """Redis is away, maybe for longer than leases live, and what it does not hear goes on.

        It was there for a while before: lending.md says what two outages in a row may cost.
        """
        self.world.wait(SETTLE_MS)
        self.world.up = False
        for _ in range(self.dice.randrange(6)):
            self.dice.choice([self.end, self.call, self.wait, self.wait, self.kill])()
        self.world.up = True
        self.dice.choice([self.rush, self.ask, self.plane])()

    def ledger_away(self) -> None:
        """Nothing is drained for a while."""
        self.world.ledger_up = False
        for _ in range(self.dice.randrange(6)):
            self.dice.choice([self.end, self.call, self.wait, self.wait, self.kill])()
        self.rush()
        self.world.ledger_up = True

    def empty(self) -> None:
        """Redis has lost everything; how far others come before they have noticed."""
        self.world.empty()
        for lane in self.world.lanes * 2:
            if self.dice.random() < 0.5:
                self.plane()
            if self.dice.random() < 0.4:
                self.world.flush(lane)
        self.dice.choice([self.rush, self.ask, self.plane])()

    def remember(self) -> None:
        self.snapshots.append(self.world.dump())

    def go_back(self) -> None:
        if self.snapshots:
            self.world.set_back(self.dice.choice(self.snapshots))


@pytest.mark.parametrize("goes_back", [False, True])
@settings(
    max_examples=16,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@given(dice=st.randoms(use_true_random=False))
def test_no_history_lends_what_is_not_there_or_loses_what_is(
    valkey_url: str, goes_back: bool, dice: Random
) -> None:
    """Where Redis goes back to an earlier state, the bound is what was lent in what it forgot."""
    world = World(valkey_url)
    try:
        world.buy(200)
        world.tell()
        play = Play(world, dice, goes_back=goes_back)
        for _ in range(3):
            play.start()
        for _ in range(STEPS):
            note(play.go_on())
            world.check()
        world.come_to_rest()
        world.check_all_is_back()
        world.check()
    finally:
        world.close()
