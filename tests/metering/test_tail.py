"""The tail in memory against a plain list of everything that was ever put."""

from typing import NamedTuple

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from metering.deltas import Booked, booked
from metering.tail import Run, Tail
from tests.fakes import usage_record

PARTITIONS = 3


class Numbered(NamedTuple):
    """A record and its number in the lane."""

    number: int
    record: Booked


def pairs(run: Run | None) -> list[Numbered] | None:
    return None if run is None else [Numbered(*pair) for pair in zip(*run, strict=True)]


ANY = st.integers(0, 60)


class Remembers(RuleBasedStateMachine):
    """What the tail gives is what the list holds, or nothing at all."""

    @initialize(limit=st.sampled_from([1, 2, 5, 12, 16, 33]))
    def open(self, limit: int) -> None:
        self.limit = limit
        self.tail = Tail(limit=limit)
        self.put_so_far: list[tuple[int, Numbered]] = []
        self.held: set[int] = set()  # numbers that must still be in memory
        self.checkpoints: dict[int, int] = {}

    def of(self, partition: int) -> list[Numbered]:
        return [entry for where, entry in self.put_so_far if where == partition]

    @rule(partition=st.integers(0, PARTITIONS - 1), skip=st.integers(1, 3))
    def put(self, partition: int, skip: int) -> None:
        number = (self.put_so_far[-1][1].number if self.put_so_far else 0) + skip
        record = usage_record(tokens_in=number)
        self.tail.put(number, partition, record)
        self.put_so_far.append((partition, Numbered(number, booked(record))))
        self.held.add(number)
        if len(self.held) > self.limit:
            last = min(self.held) + self.limit // 64
            self.held = {each for each in self.held if each > last}

    @rule(partition=st.integers(0, PARTITIONS - 1), checkpoint=ANY)
    def retire(self, partition: int, checkpoint: int) -> None:
        """The ledger moves on, or is set back: what it takes over is let go of for good."""
        self.tail.retire(partition, checkpoint)
        if checkpoint != self.checkpoints.get(partition, 0):
            self.held -= {e.number for e in self.of(partition) if e.number <= checkpoint}
        self.checkpoints[partition] = checkpoint

    @rule(number=ANY)
    def let_go(self, number: int) -> None:
        self.tail.let_go_through(number)
        self.held = {each for each in self.held if each > number}

    @rule(partition=st.integers(0, PARTITIONS - 1), position=ANY, limit=st.integers(0, 8))
    def after(self, partition: int, position: int, limit: int) -> None:
        wanted = [entry for entry in self.of(partition) if entry.number > position]
        found = pairs(self.tail.after(partition, position, limit=limit))
        whole = all(entry.number in self.held for entry in wanted)
        assert found == (wanted[:limit] if whole else None)
        assert self.tail.reaches(partition, position) == (found is not None)
        in_memory = [entry for entry in wanted if entry.number in self.held]
        assert self.tail.count_after(partition, position) == len(in_memory)

    @invariant()
    def it_knows_ends_and_what_the_ledger_lacks(self) -> None:
        for partition in range(PARTITIONS):
            end = max((entry.number for entry in self.of(partition)), default=0)
            assert self.tail.end(partition) == end
            assert (partition in self.tail.touched()) == (end > self.checkpoints.get(partition, 0))
        assert len(self.held) <= self.limit


def test_the_tail_is_a_list_with_a_bound() -> None:
    """It never gives less than all, and forgets no more than it must."""
    run_state_machine_as_test(
        Remembers, settings=settings(max_examples=150, stateful_step_count=40, deadline=None)
    )


def test_what_was_never_put_here_is_not_in_memory() -> None:
    """A replay begins where Redis stands, and cannot answer for what is before."""
    tail = Tail(floors={0: 7})
    tail.put(9, 0, usage_record(tokens_in=9))
    tail.put(10, 1, usage_record(tokens_in=10))
    assert tail.after(0, 6, limit=5) is None
    assert [entry.number for entry in pairs(tail.after(0, 7, limit=5)) or []] == [9]
    assert [entry.number for entry in pairs(tail.after(1, 0, limit=5)) or []] == [10]


def test_a_ledger_set_back_is_not_answered_from_memory() -> None:
    """What it had taken over is in the files alone."""
    tail = Tail()
    for number in (1, 2, 3):
        tail.put(number, 0, usage_record(tokens_in=number))
    tail.retire(0, 3)
    assert tail.touched() == []
    tail.retire(0, 1)
    assert tail.touched() == [0]
    assert tail.after(0, 1, limit=5) is None
