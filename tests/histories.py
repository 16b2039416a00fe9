"""Histories of the pipeline: what can happen, how often, and what must be so in the end."""

from collections.abc import Callable
from random import Random
from typing import Any, Final

from tests.pipeline import CUSTOMERS, PARTITIONS, Pipeline, Process

Action = tuple[Any, ...]
Draw = Callable[[Random], Action]
Faults = list[str | None]
Calls = list[tuple[str, int, bool]]


def _which(dice: Random) -> int:
    return dice.randrange(8)


def _partition(dice: Random) -> int:
    return dice.randrange(PARTITIONS)


def _faults(dice: Random) -> Faults:
    """As often as not everything goes well."""
    if dice.random() < 0.5:
        return []
    kinds: Faults = [None, None, None, "request", "reply", "late", "kill"]
    return [dice.choice(kinds) for _ in range(dice.randint(1, 12))]


def _order(dice: Random) -> list[int]:
    return [dice.randrange(3) for _ in range(dice.randint(1, 20))]


def _calls(dice: Random) -> Calls:
    """Customer, tokens, and whether it ends without a record."""
    count = dice.choice([1, 2, 5, 12])
    return [(dice.choice(CUSTOMERS), dice.randint(1, 9), dice.random() < 0.1) for _ in range(count)]


def _busy(dice: Random) -> Action:
    """A while in which all goes well."""
    return "busy", _which(dice), _calls(dice), dice.random() < 0.8, dice.random() < 0.7


# What may happen, and how often.
CHOICES: Final[dict[Draw, float]] = {
    _busy: 10,
    lambda dice: ("end", _which(dice), _calls(dice)): 6,
    lambda dice: ("begin", _which(dice)): 2,
    lambda dice: (
        "flush",
        _which(dice),
        _faults(dice),
        dice.random() < 0.5,
        dice.random() < 0.5,
    ): 5,
    lambda dice: ("help_out", _which(dice), _faults(dice), _order(dice)): 2,
    lambda dice: ("drain", dice.randrange(2), dice.choice([None, 0, 1]), _faults(dice)): 6,
    lambda dice: ("drains_meet", _partition(dice), _faults(dice), _order(dice), _which(dice)): 4,
    lambda dice: ("start", dice.choice([3, 8, 1000])): 2,
    lambda dice: ("sync", _which(dice)): 2,
    lambda dice: ("kill", _which(dice)): 1.5,
    lambda dice: ("leave", _which(dice)): 0.7,
    lambda dice: (
        "cut_power",
        _which(dice),
        dice.randint(0, 6),
        dice.random() < 0.5,
        dice.random() < 0.3,
    ): 2,
    lambda dice: ("adopt", dice.random() < 0.2, _faults(dice)): 4,
    lambda dice: (
        "adopters_meet",
        dice.random() < 0.2,
        _faults(dice),
        _order(dice),
        _partition(dice),
    ): 2,
    lambda dice: ("back_up",): 1.5,
    lambda dice: ("set_ledger_back", _which(dice)): 1.2,
    lambda dice: ("deliver_again", dice.randrange(1 << 16)): 2,
    lambda dice: ("deliver_late", _which(dice)): 2,
    lambda dice: ("save_redis",): 1.5,
    lambda dice: ("set_redis_back", _which(dice)): 1,
    lambda dice: ("set_redis_back", 1 << 16): 0.7,  # emptied
    lambda dice: ("lose_one_key", _partition(dice), dice.choice(["live", "drain"])): 0.7,
    lambda dice: ("clock_steps", dice.randint(-3_600_000, 3_600_000)): 1,
    lambda dice: ("prune",): 0.3,
}


def written(dice: Random, most: int = 60) -> list[Action]:
    """A history."""
    draws = dice.choices(list(CHOICES), list(CHOICES.values()), k=dice.randint(5, most))
    return [draw(dice) for draw in draws]


class History:
    """Plays one, and looks after every step whether all is as it must be."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline

    def play(self, script: list[Action]) -> None:
        for name, *words in script:
            getattr(self, name)(*words)
            self._the_ledger_holds_what_its_checkpoints_say()
        self.pipeline.settle()
        self.pipeline.look_again()
        self._the_ledger_holds_what_its_checkpoints_say()
        self._all_is_counted_or_named()

    def _process(self, which: int) -> Process:
        processes = self.pipeline.processes
        if not processes:
            self.pipeline.start(1000)
        return processes[which % len(processes)]

    # Gateways...

    def start(self, tail: int) -> None:
        if len(self.pipeline.processes) < 3:
            self.pipeline.start(tail)

    def begin(self, which: int) -> None:
        self.pipeline.begin(self._process(which))

    def end(self, which: int, calls: Calls) -> None:
        process = self._process(which)
        for customer, tokens, forgotten in calls:
            self.pipeline.end(process, customer, tokens, forgotten=forgotten)

    def busy(self, which: int, calls: Calls, flushed: bool, drained: bool) -> None:
        process = self._process(which)
        self.end(which, calls)
        if flushed:
            self.flush(which, [], True, True)
        if drained:
            self.drain(0, None, [])
        self.pipeline.keep_up(process)

    def flush(self, which: int, faults: Faults, probe: bool, ask: bool) -> None:
        process = self._process(which)
        self.pipeline.attempt(faults, self.pipeline.flushing(process, probe=probe, ask=ask))
        self.pipeline.keep_up(process)

    def help_out(self, which: int, faults: Faults, order: list[int]) -> None:
        """The helper works while the owner goes on."""
        process = self._process(which)
        owner = self.pipeline.flushing(process, probe=True, ask=False)
        self.pipeline.attempt(faults, self.pipeline.helping(process), owner, order=order)

    def sync(self, which: int) -> None:
        self.pipeline.sync(self._process(which))

    def kill(self, which: int) -> None:
        self.pipeline.kill(self._process(which))

    def leave(self, which: int) -> None:
        self.pipeline.leave(self._process(which))

    def cut_power(self, which: int, kept: int, old_board: bool, hole: bool) -> None:
        process = self._process(which)
        self.pipeline.cut_power(process, kept, old_board=old_board, hole=hole)

    def adopt(self, again: bool, faults: Faults) -> None:
        self.pipeline.attempt(faults, self.pipeline.adopting(again=again))

    def adopters_meet(self, again: bool, faults: Faults, order: list[int], partition: int) -> None:
        """Each other, and a control plane."""
        works = (
            self.pipeline.adopting(again=again),
            self.pipeline.adopting(again=False),
            self.pipeline.draining(0, partition),
        )
        self.pipeline.attempt(faults, *works, order=order)

    def prune(self) -> None:
        self.pipeline.prune()

    # Control planes...

    def drain(self, plane: int, partition: int | None, faults: Faults) -> None:
        self.pipeline.attempt(faults, self.pipeline.draining(plane, partition))

    def drains_meet(self, partition: int, faults: Faults, order: list[int], which: int) -> None:
        """Each other, on one partition, and a gateway."""
        works = (
            self.pipeline.draining(0, partition),
            self.pipeline.draining(1, partition),
            self.pipeline.flushing(self._process(which), probe=True, ask=False),
        )
        self.pipeline.attempt(faults, *works, order=order)

    def back_up(self) -> None:
        self.pipeline.back_up()

    def set_ledger_back(self, which: int) -> None:
        self.pipeline.set_ledger_back(which)

    # Redis...

    def deliver_again(self, which: int) -> None:
        if self.pipeline.batches:
            self.pipeline.deliver_again(self.pipeline.batches[which % len(self.pipeline.batches)])

    def deliver_late(self, which: int) -> None:
        self.pipeline.deliver_late(which)

    def save_redis(self) -> None:
        self.pipeline.save_redis()

    def set_redis_back(self, which: int) -> None:
        self.pipeline.set_redis_back(which)

    def lose_one_key(self, partition: int, kind: str) -> None:
        self.pipeline.run(self.pipeline.redis.delete(f"{{p{partition:02d}}}:{kind}"))

    def clock_steps(self, ms: int) -> None:
        self.pipeline.clock.advance(ms=ms)

    # What must be so...

    def _the_ledger_holds_what_its_checkpoints_say(self) -> None:
        held = self.pipeline.in_ledger()
        assert held <= self.pipeline.recorded()
        if not self.pipeline.pruned:
            assert held == self.pipeline.by_checkpoints(set())

    def _all_is_counted_or_named(self) -> None:
        pipeline = self.pipeline
        lost = pipeline.numbers_named("lost_lane")
        held = pipeline.in_ledger()
        assert held == pipeline.by_checkpoints(lost)
        assert pipeline.usage_shown() == held
        assert not lost & pipeline.on_disk()
        counted, survived = pipeline.counted(), pipeline.survived()
        assert survived - lost <= counted
        assert pipeline.numbers_named("unexplained") == counted - survived
        uncertain = [(row.lane, row.request_id) for row in pipeline.named("uncertain")]
        assert sorted(uncertain) == sorted(pipeline.uncertain())
