"""The three hops, journal → Redis → ledger, under every fault that can befall them.

A hypothesis state machine plays with the pipeline of tests/pipeline.py. Whatever the history: the
ledger holds at any moment exactly what its checkpoints say, so never more than was recorded; and when
all is quiet it holds exactly what the journals hold and what it had counted of what they lost, and the
findings name exactly what is missing or nobody can explain.
"""

import logging
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.pipeline import CUSTOMERS, PARTITIONS, Pipeline, Process

WHICH = st.integers(0, 7)
FAULT = st.sampled_from([None, None, "request", "reply", "late", "kill"])
FAULTS = st.lists(FAULT, max_size=8)
ORDER = st.lists(st.integers(0, 2), min_size=1, max_size=12)
PARTITION = st.integers(0, PARTITIONS - 1)


class History(RuleBasedStateMachine):
    """Everything that can happen."""

    valkey_url = ""
    with_pruning = False

    def __init__(self) -> None:
        super().__init__()
        self.pipeline = Pipeline(self.valkey_url)

    def process(self, which: int) -> Process:
        processes = self.pipeline.processes
        if not processes:
            self.pipeline.start(1000)
        return processes[which % len(processes)]

    # Gateways

    @precondition(lambda self: len(self.pipeline.processes) < 3)
    @rule(tail=st.sampled_from([3, 8, 1000]))
    def start(self, tail: int) -> None:
        self.pipeline.start(tail)

    @rule(which=WHICH)
    def begin(self, which: int) -> None:
        self.pipeline.begin(self.process(which))

    @rule(
        which=WHICH,
        calls=st.lists(
            st.tuples(st.sampled_from(CUSTOMERS), st.integers(1, 9)), min_size=1, max_size=9
        ),
        forgotten=st.booleans(),
    )
    def end(self, which: int, calls: list[tuple[str, int]], forgotten: bool) -> None:
        for customer, tokens in calls:
            self.pipeline.end(self.process(which), customer, tokens, forgotten=forgotten)

    @rule(which=WHICH, faults=FAULTS, probe=st.booleans(), ask=st.booleans())
    def flush(self, which: int, faults: list[str | None], probe: bool, ask: bool) -> None:
        process = self.process(which)
        self.pipeline.attempt(faults, self.pipeline.flushing(process, probe=probe, ask=ask))
        self.pipeline.keep_up(process)

    @rule(which=WHICH, faults=FAULTS, order=ORDER)
    def help_out(self, which: int, faults: list[str | None], order: list[int]) -> None:
        """The helper works while the owner goes on."""
        process = self.process(which)
        self.pipeline.attempt(
            faults,
            self.pipeline.helping(process),
            self.pipeline.flushing(process, probe=True, ask=False),
            order=order,
        )

    @rule(which=WHICH)
    def sync(self, which: int) -> None:
        self.pipeline.sync(self.process(which))

    @rule(which=WHICH)
    def kill(self, which: int) -> None:
        self.pipeline.kill(self.process(which))

    @rule(which=WHICH)
    def leave(self, which: int) -> None:
        self.pipeline.leave(self.process(which))

    @rule(which=WHICH, kept=st.integers(0, 6), old_board=st.booleans(), hole=st.booleans())
    def cut_power(self, which: int, kept: int, old_board: bool, hole: bool) -> None:
        self.pipeline.cut_power(self.process(which), kept, old_board=old_board, hole=hole)

    @rule(again=st.booleans(), faults=FAULTS)
    def adopt(self, again: bool, faults: list[str | None]) -> None:
        self.pipeline.attempt(faults, self.pipeline.adopting(again=again))

    @rule(again=st.booleans(), faults=FAULTS, order=ORDER, partition=PARTITION)
    def adopters_meet(
        self, again: bool, faults: list[str | None], order: list[int], partition: int
    ) -> None:
        """Each other, and a control plane."""
        self.pipeline.attempt(
            faults,
            self.pipeline.adopting(again=again),
            self.pipeline.adopting(again=False),
            self.pipeline.draining(0, partition),
            order=order,
        )

    @precondition(lambda self: self.with_pruning)
    @rule()
    def prune(self) -> None:
        self.pipeline.prune()

    # Control planes

    @rule(plane=st.integers(0, 1), partition=PARTITION | st.none(), faults=FAULTS)
    def drain(self, plane: int, partition: int | None, faults: list[str | None]) -> None:
        self.pipeline.attempt(faults, self.pipeline.draining(plane, partition))

    @rule(partition=PARTITION, faults=FAULTS, order=ORDER, which=WHICH)
    def drains_meet(
        self, partition: int, faults: list[str | None], order: list[int], which: int
    ) -> None:
        """Each other, on one partition, and a gateway."""
        self.pipeline.attempt(
            faults,
            self.pipeline.draining(0, partition),
            self.pipeline.draining(1, partition),
            self.pipeline.flushing(self.process(which), probe=True, ask=False),
            order=order,
        )

    @rule()
    def back_up(self) -> None:
        self.pipeline.back_up()

    @rule(which=WHICH)
    def set_ledger_back(self, which: int) -> None:
        self.pipeline.set_ledger_back(which)

    # Redis

    @rule(data=st.data())
    def deliver_again(self, data: st.DataObject) -> None:
        if self.pipeline.batches:
            self.pipeline.deliver_again(data.draw(st.sampled_from(self.pipeline.batches)))

    @rule(which=WHICH)
    def deliver_late(self, which: int) -> None:
        self.pipeline.deliver_late(which)

    @rule()
    def save_redis(self) -> None:
        self.pipeline.save_redis()

    @rule(which=WHICH)
    def set_redis_back(self, which: int) -> None:
        self.pipeline.set_redis_back(which)

    @rule(partition=PARTITION, kind=st.sampled_from(["live", "drain"]))
    def lose_one_key(self, partition: int, kind: str) -> None:
        self.pipeline.run(self.pipeline.redis.delete(f"{{p{partition:02d}}}:{kind}"))

    @rule(ms=st.integers(-3_600_000, 3_600_000))
    def clock_steps(self, ms: int) -> None:
        self.pipeline.clock.advance(ms=ms)

    # Always

    @invariant()
    def the_ledger_holds_what_its_checkpoints_say(self) -> None:
        held = self.pipeline.in_ledger()
        assert held <= self.pipeline.recorded()
        if not self.pipeline.pruned:
            assert held == self.pipeline.by_checkpoints(set())

    def teardown(self) -> None:
        try:
            self.pipeline.settle()
            self.pipeline.look_again()
            self.all_is_counted_or_named()
        finally:
            self.pipeline.close()

    def all_is_counted_or_named(self) -> None:
        pipeline = self.pipeline
        checkpoints = pipeline.checkpoints()
        lost = pipeline.numbers_named("lost_lane")
        held = pipeline.in_ledger()
        assert held == pipeline.by_checkpoints(lost)
        assert pipeline.usage_shown() == held
        assert not lost & pipeline.on_disk()
        for story in pipeline.stories.values():
            for number, (partition, _) in story.tokens.items():
                if number <= story.end:
                    assert number <= checkpoints.get((story.lane, partition), 0) or (story.lane, number) in lost
        unexplained = {
            (story.lane, number)
            for story in pipeline.stories.values()
            for number, (partition, _) in story.tokens.items()
            if story.end < number <= checkpoints.get((story.lane, partition), 0)
        }
        assert pipeline.numbers_named("unexplained") == unexplained
        alive = {process.story.lane for process in pipeline.processes}
        uncertain = {(row.lane, row.request_id) for row in pipeline.named("uncertain")}
        assert uncertain == {
            (story.lane, request)
            for story in pipeline.stories.values()
            for request in story.uncertain
            if story.lane not in alive
        }


@pytest.fixture
def history(valkey_url: str) -> Iterator[type[History]]:
    History.valkey_url = valkey_url
    logging.disable(logging.ERROR)
    yield History
    logging.disable(logging.NOTSET)


def test_every_history_ends_exact(history: type[History]) -> None:
    """No order of faults loses usage, counts it twice, or leaves it without a name."""
    run_state_machine_as_test(
        history,
        settings=settings(
            max_examples=60,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
