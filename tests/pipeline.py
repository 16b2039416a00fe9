"""One machine's pipeline, journal → Redis → ledger, with everything that can befall it.

Real lanes on a disk, the real scripts on a real Valkey, the real SQL on SQLite. Whoever plays with it
kills processes, cuts the power, loses requests and replies, delivers late, empties Redis, sets it or
the ledger back, and asks at any time whether the ledger holds what its checkpoints say.
"""

import asyncio
import shutil
import tempfile
from collections.abc import Awaitable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from msgspec import structs
from redis.asyncio import Redis
from redis.exceptions import RedisError
from sqlmodel import select

from billing_sync.finding_models import FindingRow
from billing_sync.models import Checkpoint
from billing_sync.questions import UsageFilter
from billing_sync.store import ledger, stops
from billing_sync.store.engine import reading, writing
from billing_sync.usage_view import UsageView
from gateway.recorder import Recorder
from metering import findings, retention
from metering.adoption import Adopter
from metering.board import Open
from metering.connection import connect_one
from metering.counters import Counters
from metering.journal import Durability, Journal
from metering.lanes import LaneFolder, State, lanes_in
from metering.partitions import partition_of
from metering.protocol import ApplyReply, Batch
from metering.replaying import replay_living
from metering.segments import AUDIT, segment_files
from metering.tail import Tail
from tests import power
from tests.databases import new_ledger
from tests.fakes import FakeClock, Ids, usage_record
from tests.metering.control_plane import ControlPlane, save, set_back
from tests.unsure_redis import Network, UnsureRedis

PARTITIONS: Final = 2
CUSTOMERS: Final = ("a", "b", "c")
Faults = Sequence[str | None]
_SEGMENT_BYTES: Final = 11_300
_MEMORY: Final = Path("/dev/shm")
_ROUNDS: Final = 15
_LONG: Final = "x" * 250  # as a route: five records fill a segment

RedisState = dict[Any, dict[Any, Any]]
Range = tuple[str, int, int, int]  # lane, partition, first and last number


class Sent(Counters):
    """Remembers every batch: a network may deliver one again and again."""

    def __init__(self, redis: Redis, batches: list[Batch]) -> None:
        super().__init__(redis)
        self._batches = batches

    async def apply(self, batch: Batch) -> ApplyReply:
        if batch.deltas:
            self._batches.append(batch)
        return await super().apply(batch)


@dataclass
class Story:
    """What is known of a lane by whoever wrote it."""

    lane: str
    tokens: dict[int, tuple[int, int]] = field(default_factory=dict)  # number: partition, tokens
    requests: dict[int, str] = field(default_factory=dict)  # number: request id
    opened: dict[str, int] = field(default_factory=dict)  # the slot of each open request
    end: int = 1 << 60  # a power cut took what came after
    uncertain: set[str] = field(default_factory=set)

    def of(self, partition: int) -> dict[int, int]:
        """The tokens of the partition's records by number."""
        return {n: tokens for n, (where, tokens) in self.tokens.items() if where == partition}


@dataclass
class Process:
    """A living gateway process."""

    lane: Journal
    recorder: Recorder
    story: Story
    synced: int = 0
    synced_slots: dict[str, int] = field(default_factory=dict)
    synced_board: bytes = b""

    @property
    def folder(self) -> LaneFolder:
        return LaneFolder(self.lane.folder / self.story.lane)


class Pipeline:
    """The machine. Whoever makes one closes it."""

    def __init__(self, valkey_url: str) -> None:
        self.runner = asyncio.Runner()
        self.base = Path(tempfile.mkdtemp(dir=_MEMORY if _MEMORY.is_dir() else None))
        self.journal = self.base / "journal"
        self.engine = new_ledger(self.base / "ledger.db")
        self.clock = FakeClock()
        self.network = Network()
        self.redis = connect_one(valkey_url)
        self.unsure = UnsureRedis.over(valkey_url, self.network)
        self.run(self.redis.flushall())
        self.batches: list[Batch] = []
        self.planes = [
            ControlPlane(self.engine, self.unsure, PARTITIONS, self.clock) for _ in range(2)
        ]
        self.view = UsageView(self.engine, Counters(self.redis), {}, PARTITIONS, self.clock)
        self.stories: dict[str, Story] = {}
        self.processes: list[Process] = []
        self.lanes, self.requests = Ids("lane"), Ids("r-")
        self.redis_states: list[RedisState] = []
        self.backups: list[Path] = []
        self.pruned = False

    def close(self) -> None:
        for process in list(self.processes):
            self._stop(process)
        self.run(self.redis.aclose())
        self.run(self.unsure.aclose())
        self.runner.close()
        self.engine.dispose()
        shutil.rmtree(self.base)

    def run(self, awaitable: Awaitable[Any]) -> Any:
        async def bounded() -> Any:
            return await awaitable

        return self.runner.run(bounded())

    def attempt(
        self, faults: Faults, *works: Coroutine[Any, Any, Any], order: Sequence[int] = (0,)
    ) -> None:
        """Do all of it, one Redis command after the other in this order, as far as faults let it."""
        self.network.plan = list(faults)
        self.run(self.network.interleave(works, order))
        self.network.plan = []

    # Processes...

    def start(self, tail: int) -> None:
        """A process whose memory holds so many records."""
        durability = Durability(fsync="never", segment_bytes=_SEGMENT_BYTES)
        lane = Journal(self.journal, self.lanes(), PARTITIONS, durability, self.clock)
        lane.tail = Tail(tail)
        recorder = Recorder(lane, Sent(self.unsure, self.batches), self.clock, PARTITIONS)
        story = self.stories[lane.lane_id] = Story(lane.lane_id)
        self.processes.append(Process(lane, recorder, story))
        power.rest(lane)

    def begin(self, process: Process) -> None:
        """A call goes upstream."""
        request = self.requests()
        opening = Open(request, "c", "chat", self.clock.now_ms())
        process.story.opened[request] = process.recorder.begin(opening)

    def end(self, process: Process, customer: str, tokens: int, *, forgotten: bool) -> None:
        """The oldest open call ends, or one that nobody saw begin; a forgotten one has no record."""
        story = process.story
        request = next(iter(story.opened), None)
        slot = story.opened.pop(request) if request else None
        if forgotten and slot is not None:
            process.recorder.forget(slot)
            return
        now_ms = self.clock.now_ms()
        record = usage_record(customer, time_ms=now_ms, route=_LONG, tokens_in=tokens)
        named = structs.replace(record, request_id=request or "unseen")
        number = process.lane.append(named, slot)
        story.tokens[number] = (partition_of(customer, PARTITIONS), tokens)
        story.requests[number] = named.request_id
        power.rest(process.lane)

    async def flushing(self, process: Process, *, probe: bool, ask: bool) -> None:
        """What its loops do."""
        await process.recorder.applier.flush(probe=probe)
        if ask:
            await process.recorder.applier.ask_next(PARTITIONS)

    async def helping(self, process: Process) -> None:
        """What the helper of a process does that fell behind."""
        await replay_living(process.folder, self.unsure, PARTITIONS, 1)

    def keep_up(self, process: Process) -> None:
        """What it does once a second beside."""
        process.lane.keep_up()
        power.rest(process.lane)
        for path in segment_files(process.folder.path, AUDIT):  # it was synced before
            process.synced = max(process.synced, *power.numbers(path))

    def sync(self, process: Process) -> None:
        """Everything written so far survives a power cut."""
        process.synced = max(process.story.tokens, default=0)
        process.synced_slots = dict(process.story.opened)
        process.synced_board = power.board_of(process.folder)

    def kill(self, process: Process) -> None:
        """Everything written survives, nothing more is."""
        self._stop(process)
        process.story.uncertain = set(process.story.opened)

    def leave(self, process: Process) -> None:
        """It ends as it should, but for calls that are still open."""
        self.processes.remove(process)
        process.story.uncertain = set(process.story.opened)
        process.lane.close()

    def cut_power(self, process: Process, kept: int, *, old_board: bool, hole: bool) -> None:
        """Of its files is left what was synced, and of the rest so many records at most.

        `hole`: what follows the first lost record reached the disk all the same.
        """
        self._stop(process)
        story, folder = process.story, process.folder
        story.end = min(process.synced + kept, max(story.tokens, default=0))
        power.forget_after(folder, story.end, hole=hole)
        opened = set(story.opened)
        if old_board and process.synced_board:
            power.restore_board(folder, process.synced_board)
            opened = set(process.synced_slots)
        survived = {request for number, request in story.requests.items() if number <= story.end}
        story.uncertain = opened - survived

    def _stop(self, process: Process) -> None:
        self.processes.remove(process)
        power.abandon(process.lane)

    async def adopting(self, *, again: bool) -> None:
        """What a helper does for lanes without an owner, once around."""
        adopter = Adopter(self.journal, self.unsure, PARTITIONS, self.clock, pause_s=0)
        await adopter.run(patience_s=-1, again=again)

    def prune(self) -> None:
        """The disk runs short: the whole audit trail goes."""
        while retention.make_room(self.journal):
            self.pruned = True

    # Redis and the ledger...

    async def draining(self, plane: int, partition: int | None) -> None:
        """What a control plane does, for one partition or for all and the findings."""
        if partition is None:
            await self._untake()
            await self.planes[plane].turn()
        else:
            await self.planes[plane].drainer.drain(partition)

    async def _untake(self) -> None:
        """Once for each time that the ledger was found set back, findings are asked for again."""
        with reading(self.engine) as session:
            stop = stops.stopped(session)
        if stop is not None:
            await findings.untake(self.unsure)
            with writing(self.engine) as session:
                stops.lift(session)

    def deliver_again(self, batch: Batch) -> None:
        """A network that repeats itself."""
        self.run(Counters(self.redis).apply(batch))

    def deliver_late(self, which: int) -> None:
        """A request that nobody waits for any more arrives."""
        if self.network.late:
            command = self.network.late.pop(which % len(self.network.late))
            with suppress(RedisError):
                self.run(self.redis.execute_command(*command))  # type: ignore[no-untyped-call]  # redis-py's

    def save_redis(self) -> None:
        self.redis_states.append(self.run(self._dump()))

    def set_redis_back(self, which: int) -> None:
        """To an earlier state, or to nothing at all."""
        state = self.redis_states[which] if which < len(self.redis_states) else {}
        self.run(self._restore(state))

    async def _dump(self) -> RedisState:
        return {key: await self.redis.hgetall(key) for key in await self.redis.keys("*")}

    async def _restore(self, state: RedisState) -> None:
        await self.redis.flushall()
        for key, fields in state.items():
            await self.redis.hset(key, mapping=fields)

    def back_up(self) -> None:
        """Save the ledger."""
        path = self.base / f"backup{len(self.backups)}"
        save(self.engine, path)
        self.backups.append(path)

    def set_ledger_back(self, which: int) -> None:
        """To a backup."""
        if self.backups:
            set_back(self.engine, self.backups[which % len(self.backups)])

    # What must be so...

    def in_ledger(self) -> int:
        with reading(self.engine) as session:
            return ledger.totals(session).get("tokens_in", 0)

    def checkpoints(self) -> dict[tuple[str, int], int]:
        with reading(self.engine) as session:
            rows = session.exec(select(Checkpoint))
            return {(row.lane, row.partition): row.position for row in rows}

    def recorded(self) -> int:
        """All that was ever recorded."""
        return sum(tokens for s in self.stories.values() for _, tokens in s.tokens.values())

    def by_checkpoints(self, without: set[tuple[str, int]]) -> int:
        """What a ledger with these checkpoints holds, but for some (lane, number)."""
        return sum(self.stories[lane].tokens[n][1] for lane, n in self.counted() - without)

    def counted(self) -> set[tuple[str, int]]:
        """The records that the checkpoints are past."""
        found = self.checkpoints()
        return {
            (story.lane, number)
            for story in self.stories.values()
            for number, (partition, _) in story.tokens.items()
            if number <= found.get((story.lane, partition), 0)
        }

    def survived(self) -> set[tuple[str, int]]:
        """The records that no power cut took."""
        return {
            (story.lane, number)
            for story in self.stories.values()
            for number in story.tokens
            if number <= story.end
        }

    def uncertain(self) -> list[tuple[str, str]]:
        """The requests of dead processes of which nobody knows how they ended, by lane."""
        alive = {process.story.lane for process in self.processes}
        dead = [story for story in self.stories.values() if story.lane not in alive]
        return [(story.lane, request) for story in dead for request in story.uncertain]

    def named(self, kind: str) -> list[FindingRow]:
        with reading(self.engine) as session:
            return list(session.exec(select(FindingRow).where(FindingRow.kind == kind)))

    def numbers_named(self, kind: str) -> set[tuple[str, int]]:
        """The records that findings of the kind are about, by lane and number."""
        return {
            (row.lane, number)
            for row in self.named(kind)
            for number in self.stories[row.lane].of(row.partition)
            if row.first <= number <= row.last
        }

    def settle(self) -> None:
        """No more faults: everybody does his work until nothing changes."""
        before: object = None
        for _ in range(_ROUNDS):
            for plane in range(2):
                self.run(self.draining(plane, None))
            for process in self.processes:
                self.run(self.flushing(process, probe=True, ask=True))
                if process.recorder.applier.behind:
                    self.run(self.helping(process))
                self.keep_up(process)
            self.run(self.adopting(again=False))
            now = (self.run(self._dump()), self.checkpoints(), self._states())
            if now == before:
                return
            before = now
        raise AssertionError("it never comes to rest")

    def look_again(self) -> None:
        """Retired lanes are looked at too: the ledger may have been set back."""
        for _ in range(_ROUNDS):
            self.run(self.adopting(again=True))
            self.settle()
            if not self.run(self.redis.exists(findings.KEY)):
                return

    def _states(self) -> list[State]:
        return [lane.state() for lane in lanes_in(self.journal)]

    def usage_shown(self) -> int:
        """What a customer is shown, the part in Redis included."""
        usage = self.run(self.view.usage(UsageFilter()))
        assert usage.live
        return sum(usage.cells.values())

    def on_disk(self) -> set[tuple[str, int]]:
        """Every record in the journal, by lane and number."""
        entries = (entry for lane in lanes_in(self.journal) for entry in lane.entries())
        return {(entry.lane, entry.number) for entry in entries}
