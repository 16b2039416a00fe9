"""From lanes to the ledger to the bank, by two control planes that meet and die anywhere: what the bank
says is left is never more than there is, less what a lane believes it holds no more."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from billing_sync.drain import Drainer
from billing_sync.store import projections
from billing_sync.store.engine import writing
from billing_sync.telling import Teller
from metering.bank import Bank
from metering.counters import Counters
from metering.deltas import DeltaKey
from metering.errors import MeteringError
from metering.lending import account_of
from metering.protocol import Batch
from tests.billing_sync.books import CATALOGUE, Books
from tests.billing_sync.lanes import delta
from tests.databases import new_ledger
from tests.unsure_redis import Killed, Network, UnsureRedis

ACCOUNT = account_of("cust-1", "TOKENS")
FAULTS = [None] * 8 + ["request", "reply", "late", "kill"]


class Lane:
    """A worker that keeps its records and knows its checkpoint."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.records: list[int] = []
        self.epoch, self.position, self.checkpoint = "", 0, 0

    @property
    def key(self) -> DeltaKey:
        return delta(instance_id="i")

    async def flush(self, counters: Counters) -> None:
        for _ in range(3):
            used = sum(self.records[self.position :])
            end = max(self.position, len(self.records))
            deltas = {self.key: used} if used else {}
            batch = Batch(0, self.epoch, self.name, self.position, end, deltas)
            reply = await counters.apply(batch)
            self.epoch, self.position = reply.epoch, reply.position
            self.checkpoint = reply.checkpoint
            if reply.status == "ok":
                return


class World:
    """A ledger, two control planes, three lanes."""

    def __init__(self, folder: Path, url: str, dice: Random) -> None:
        self.dice = dice
        self.runner = asyncio.Runner()
        for each in folder.glob("ledger.db*"):
            each.unlink()
        self.books = Books(new_ledger(folder / "ledger.db"), CATALOGUE)
        self.books.buy("i")
        self.network = Network()
        self.redis = UnsureRedis.over(url, self.network)
        self.bank = Bank(self.redis)
        self.lanes = [Lane(f"lane-{n}") for n in range(3)]
        self.quota = 0
        self.do(self.redis.flushall())
        self.planes = [self.plane() for _ in range(2)]
        for _ in range(20):  # more than is ever used: what no package covers is deducted from none
            self.buy()

    def plane(self) -> Drainer:
        books = self.books
        teller = Teller(books.engine, Bank(self.redis), CATALOGUE, 1, books.clock)
        return Drainer(
            books.engine, Counters(self.redis), CATALOGUE, books.clock, books.ids, teller
        )

    def do(self, work: Any, faults: int = 0) -> None:
        self.network.plan = [self.dice.choice(FAULTS) for _ in range(faults)]
        try:
            self.runner.run(_done(work))
        except MeteringError:
            pass
        finally:
            self.network.plan = []

    def visit(self, number: int, job: str, faults: int) -> None:
        """One control plane drains or tells, and may die of it."""
        plane = self.planes[number]
        assert plane.teller is not None
        try:
            self.do(plane.drain_all(1) if job == "drain" else plane.teller.run(), faults)
        except Killed:
            self.planes[number] = self.plane()

    def meet(self) -> None:
        """Both drain at once, in any order."""
        order = [self.dice.randrange(2) for _ in range(7)]
        works = [plane.drain_all(1) for plane in self.planes]
        self.do(self.network.interleave(works, order))

    def buy(self) -> None:
        self.quota += 10_000
        self.books.buy(f"pack-{self.quota}", "STOP")
        with writing(self.books.engine) as session:
            projections.enqueue(session, "cust-1", self.books.clock.now_ms())

    def use(self) -> None:
        lane = self.dice.choice(self.lanes)
        lane.records += [self.dice.choice([1, 100, 3000])]

    def flush(self, faults: int) -> None:
        with suppress(Killed):
            self.do(self.dice.choice(self.lanes).flush(Counters(self.redis)), faults)

    def deliver(self) -> None:
        if self.network.late:
            message = self.network.late.pop(self.dice.randrange(len(self.network.late)))
            with suppress(Exception):
                self.do(Redis.execute_command(self.redis, *message))  # type: ignore[no-untyped-call]  # redis-py's

    def go_on(self) -> None:
        faults = self.dice.choice([0, 0, 3, 8])
        acts: dict[Callable[[], None], int] = {
            self.use: 20,
            lambda: self.flush(faults): 20,
            lambda: self.visit(self.dice.randrange(2), "drain", faults): 20,
            lambda: self.visit(self.dice.randrange(2), "tell", faults): 5,
            self.meet: 5,
            self.buy: 3,
            self.deliver: 8,
            lambda: self.do(self.redis.flushall()): 1,
        }
        act: Callable[[], None] = self.dice.choices(list(acts), list(acts.values()))[0]
        act()
        self.check()

    def told(self) -> int | None:
        found = self.runner.run(self.bank.balances(0, [ACCOUNT]))
        return sum(part.left for part in found[0].parts) if found else None

    def check(self) -> None:
        """A lane reckons with a checkpoint of the epoch it knows; of another one it gets nothing."""
        epoch = self.runner.run(Counters(self.redis).head(0)).epoch
        left = self.told()
        given_up = sum(
            sum(lane.records[: lane.checkpoint]) for lane in self.lanes if lane.epoch == epoch
        )
        assert left is None or left <= self.quota - given_up

    def come_to_rest(self) -> None:
        for _ in range(4):
            self.visit(0, "drain", 0)
            for lane in self.lanes:
                self.do(lane.flush(Counters(self.redis)))
        self.visit(0, "drain", 0)
        self.visit(0, "tell", 0)
        used = sum(sum(lane.records) for lane in self.lanes)
        assert self.told() == self.quota - used

    def close(self) -> None:
        self.runner.run(self.redis.aclose())
        self.runner.close()
        self.books.engine.dispose()


async def _done(work: Any) -> Any:
    return await work


@pytest.fixture
def quiet() -> Iterator[None]:
    """Of so much trouble nobody wants to hear."""
    logging.disable(logging.ERROR)
    yield
    logging.disable(logging.NOTSET)


@settings(max_examples=7, deadline=None, suppress_health_check=list(HealthCheck))
@given(dice=st.randoms(use_true_random=False))
def test_the_bank_never_has_more_than_the_ledger(
    valkey_url: str, tmp_path: Path, quiet: None, dice: Random
) -> None:
    """Whoever dies or is late, and it has exactly that much in the end."""
    world = World(tmp_path, valkey_url, dice)
    try:
        for _ in range(50):
            world.go_on()
        world.come_to_rest()
    finally:
        world.close()
