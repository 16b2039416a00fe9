"""The three hops, journal → Redis → ledger, under every fault a single machine can have.

A hypothesis state machine drives the real scripts on a real Valkey and the real SQL on SQLite:
records, flushes, lost requests, lost replies, late calls, drains that stop between any two steps,
two control planes, Redis emptied or set back to any earlier state. Whatever the history, the ledger
never holds more than was recorded, and when all is quiet it holds exactly that.
"""

import asyncio
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from billing_sync.drain import Drainer
from billing_sync.questions import UsageFilter
from billing_sync.store import ledger
from billing_sync.store.engine import open_engine, reading, sqlite_url
from billing_sync.usage_view import UsageView
from gateway.recorder import Recorder
from metering.connection import connect_one
from metering.counters import Counters
from metering.errors import MeteringError, WriteUnknown
from metering.journal import MemoryLane
from metering.protocol import Batch
from tests.fakes import FakeClock, Ids, usage_record

PARTITIONS = 2
State = dict[Any, dict[Any, Any]]  # as Redis gives keys, fields and values
CUSTOMERS = ("a", "b", "c")
LOSSES = st.sampled_from([None, "request", "reply"])


class Faulty(Counters):
    """Counters whose next call loses its request or its reply; remembers every batch."""

    def __init__(self, redis: Any) -> None:
        super().__init__(redis)
        self.plan: list[str | None] = []
        self.sent: list[Batch] = []

    async def apply(self, batch: Batch):  # type: ignore[no-untyped-def]
        self.sent.append(batch)
        return await super().apply(batch)

    async def _run(self, name: str, keys: list[str], arguments: list[str]) -> Any:
        fault = self.plan.pop(0) if self.plan else None
        if fault == "request":
            raise WriteUnknown("the request was lost")
        answer = await super()._run(name, keys, arguments)
        if fault == "reply":
            raise WriteUnknown("the reply was lost")
        return answer


class Pipeline(RuleBasedStateMachine):
    valkey_url = ""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.engine = open_engine(sqlite_url(Path(self.folder.name) / "ledger.db"))
        ids = Ids()
        ledger.set_up(self.engine, PARTITIONS, ids)
        self.clock = FakeClock()
        self.redis = connect_one(self.valkey_url)
        self.run(self.redis.flushall())
        self.faulty = Faulty(self.redis)
        self.recorders = [
            Recorder(MemoryLane(f"lane{n}", PARTITIONS), self.faulty, self.clock) for n in range(2)
        ]
        self.drainers = [Drainer(self.engine, self.faulty, {}, self.clock, ids) for _ in range(2)]
        self.view = UsageView(self.engine, Counters(self.redis), {}, PARTITIONS, self.clock)
        self.truth = 0
        self.saved: list[State] = []

    def run(self, awaitable: Any) -> Any:
        async def bounded() -> Any:
            return await awaitable

        return self.runner.run(bounded())

    def attempt(self, awaitable: Any, faults: list[str | None]) -> None:
        self.faulty.plan = list(faults)
        try:
            self.run(awaitable)
        except MeteringError:
            pass
        finally:
            self.faulty.plan = []

    @rule(lane=st.integers(0, 1), customer=st.sampled_from(CUSTOMERS), tokens=st.integers(1, 9))
    def record(self, lane: int, customer: str, tokens: int) -> None:
        self.recorders[lane].record(
            usage_record(customer, time_ms=self.clock.now_ms(), tokens_in=tokens)
        )
        self.truth += tokens

    @rule(lane=st.integers(0, 1), faults=st.lists(LOSSES, max_size=4), probe=st.booleans())
    def flush(self, lane: int, faults: list[str | None], probe: bool) -> None:
        self.attempt(self.recorders[lane].flush(probe=probe), faults)

    @rule(data=st.data())
    def late_call(self, data: st.DataObject) -> None:
        if self.faulty.sent:
            old = data.draw(st.sampled_from(self.faulty.sent))
            self.run(Counters(self.redis).apply(old))

    @rule(
        control=st.integers(0, 1),
        partition=st.integers(0, PARTITIONS - 1),
        faults=st.lists(LOSSES, max_size=7),
    )
    def drain(self, control: int, partition: int, faults: list[str | None]) -> None:
        self.attempt(self.drainers[control].drain(partition), faults)

    @rule()
    def save_redis(self) -> None:
        self.saved.append(self.run(self._dump()))

    @rule(data=st.data())
    def redis_set_back(self, data: st.DataObject) -> None:
        if self.saved:
            self.run(self._restore(data.draw(st.sampled_from(self.saved))))

    @rule()
    def redis_emptied(self) -> None:
        self.run(self.redis.flushall())

    @rule(partition=st.integers(0, PARTITIONS - 1), kind=st.sampled_from(["live", "drain"]))
    def one_key_lost(self, partition: int, kind: str) -> None:
        self.run(self.redis.delete(f"{{p{partition:02d}}}:{kind}"))

    @rule(ms=st.integers(-3000, 3_600_000))
    def time_passes(self, ms: int) -> None:
        self.clock.advance(ms=ms)

    @invariant()
    def never_more_than_was_recorded(self) -> None:
        assert self.in_ledger() <= self.truth

    def in_ledger(self) -> int:
        with reading(self.engine) as session:
            return ledger.totals(session).get("tokens_in", 0)

    def teardown(self) -> None:
        try:
            self.settle()
        finally:
            self.run(self.redis.aclose())
            self.runner.close()
            self.engine.dispose()
            self.folder.cleanup()

    def settle(self) -> None:
        """Without faults everything arrives: what a reset replays needs a second round."""
        for _ in range(2):
            for partition in range(PARTITIONS):
                self.run(self.drainers[0].drain(partition))
            for recorder in self.recorders:
                assert self.run(recorder.flush(probe=True)) is not None
        usage = self.run(self.view.usage(UsageFilter()))
        assert usage.live
        assert sum(usage.cells.values()) == self.truth
        for partition in range(PARTITIONS):
            self.run(self.drainers[1].drain(partition))
        assert self.in_ledger() == self.truth

    async def _dump(self) -> State:
        keys = await self.redis.keys("{p*")
        return {key: await self.redis.hgetall(key) for key in keys}

    async def _restore(self, state: State) -> None:
        await self.redis.flushall()
        for key, fields in state.items():
            await self.redis.hset(key, mapping=fields)


@pytest.fixture
def pipeline(valkey_url: str) -> type[Pipeline]:
    Pipeline.valkey_url = valkey_url
    return Pipeline


def test_every_history_ends_exact(pipeline: type[Pipeline]) -> None:
    """No order of faults loses usage or counts it twice."""
    run_state_machine_as_test(
        pipeline,
        settings=settings(
            max_examples=60,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
