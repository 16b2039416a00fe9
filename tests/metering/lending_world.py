"""Lanes, a ledger and the bank between them: the real scripts on a real Valkey, and everything that can
befall them. One partition, one account; time is ours.

A lane here keeps the rules that stand in metering/lending.py, so it is also their shortest example.
"""

import asyncio
from collections.abc import Awaitable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from billing_sync.lineage import Step, next_step
from metering.bank import Bank
from metering.counters import Counters
from metering.deltas import DeltaKey
from metering.errors import MeteringError
from metering.lending import (
    NOBODY,
    PACKAGE_LIFE_MS,
    RENEW_PART,
    SETTLE_MS,
    Balance,
    Lent,
    PackageAsk,
    Part,
    Settling,
    account_of,
)
from metering.protocol import Batch
from metering.usage import Grade
from metering.windows import Window
from tests.fakes import FakeClock, Ids
from tests.unsure_redis import Killed, Network, UnsureRedis

ACCOUNT: Final = account_of("cust-1", "TOKENS")
KEY: Final = DeltaKey(Window(500_000), "cust-1", "i", "chat", "tokens_total", Grade.EXACT)
_ADOPTED_MS: Final = (
    5_000  # a dead lane's records are in Redis by then, and a live one has come back
)


@dataclass
class Lane:
    """One worker's life: what it holds, and what its journal says it used."""

    name: str
    born: int
    alive: bool = True
    epoch: str = ""
    position: int = 0
    checkpoint: int = 0
    records: list[int] = field(default_factory=list)
    spare: int = 0
    open: list[int] = field(default_factory=list)
    turn: int = 0
    usable_until: int = 0
    heard: int = 0  # its last message that was answered
    must_say_all: bool = True
    died: int = 0  # in ms of Redis being there

    @property
    def held(self) -> int:
        return self.spare + sum(self.open) + sum(self.records[self.checkpoint :])

    def settle(self, sent: int, whole: bool, lent: Lent) -> None:
        """Take over what the bank said to a message of that time."""
        if lent.state in ("late", "epoch"):
            return
        self.heard, self.usable_until = sent, sent + lent.life_ms
        self.must_say_all = lent.state == "settling" and not whole
        if lent.state == "ok":
            self.spare += lent.granted
            self.spare -= min(self.spare, max(-lent.left, 0))


class World:
    """What every lane holds and used, and what the ledger knows of it."""

    def __init__(self, url: str) -> None:
        self._runner = asyncio.Runner()
        self.clock = FakeClock()
        self.up_ms = 0
        self.up = True
        self.ledger_up = True
        self.network = Network()
        self.ids = Ids()
        self.redis = UnsureRedis.over(url, self.network)
        self.bank = Bank(self.redis, self.clock.now_ms)
        self.counters = Counters(self.redis)
        self.lanes: list[Lane] = []
        self.quota = 0
        self.left = 0
        self.version = 0
        self.epoch, self.last = self.ids(), self.ids()
        self.checkpoints: dict[str, int] = {}
        self.granted = 0
        self.slack = 0  # what was lent in what Redis forgot when it went back
        self.run(self.redis.flushall())
        self.plane()

    def close(self) -> None:
        self.run(self.redis.aclose())
        self._runner.close()

    def run(self, work: Awaitable[Any]) -> Any:
        async def done() -> Any:
            return await work

        return self._runner.run(done())

    # --- what happens -------------------------------------------------------------------

    def try_(self, work: Coroutine[Any, Any, Any], fault: str | None = None) -> Any:
        """What comes of it on this network; None where nobody learns that. Raises Killed."""
        if not self.up:
            work.close()
            return None
        self.network.plan = [fault]
        try:
            return self.run(work)
        except MeteringError:
            return None
        finally:
            self.network.plan = []

    def start(self) -> Lane:
        lane = Lane(self.ids(), self.clock.now_ms())
        self.lanes.append(lane)
        return lane

    def kill(self, lane: Lane) -> None:
        lane.alive, lane.spare, lane.open, lane.died = False, 0, [], self.up_ms

    def ask(self, lane: Lane, want: int, least: int = 1, fault: str | None = None) -> Lent | None:
        """One message of the lane about its account."""
        lane.turn += 1
        sent, whole, before = self.clock.now_ms(), lane.must_say_all, self.granted
        asks = [PackageAsk(ACCOUNT, lane.held, want, least)]
        named = {"whole": whole, "checkpoint": lane.checkpoint}
        work = self.bank.ask(0, lane.name, lane.epoch, lane.turn, asks, **named)  # type: ignore[arg-type]
        try:
            answer: list[Lent] | None = self.try_(work, fault)
        except Killed:
            self.granted = before + want
            self.kill(lane)
            return None
        self.granted += want
        if answer is None:
            return None
        lane.settle(sent, whole, answer[0])
        return answer[0]

    def call(self, lane: Lane, need: int) -> None:
        """A call begins, if the lane can reserve what it will use."""
        if self.clock.now_ms() < lane.usable_until and lane.spare >= need:
            lane.spare -= need
            lane.open.append(need)

    def end(self, lane: Lane, used: int) -> None:
        """The oldest open call ends and used that much of what it had reserved."""
        reserved = lane.open.pop(0)
        used = min(used, reserved)
        lane.spare += reserved - used
        if used:
            lane.records.append(used)

    def flush(self, lane: Lane, fault: str | None = None) -> None:
        """Bring the lane's records to Redis; also a dead one's, by whoever adopted it."""
        for turn in range(3):
            used = sum(lane.records[lane.position :])
            end = max(lane.position, len(lane.records))
            batch = Batch(0, lane.epoch, lane.name, lane.position, end, {KEY: used} if used else {})
            try:
                reply = self.try_(self.counters.apply(batch), None if turn else fault)
            except Killed:
                return
            if reply is None:
                return
            lane.must_say_all |= lane.epoch != reply.epoch
            lane.epoch, lane.position, lane.checkpoint = (
                reply.epoch,
                reply.position,
                reply.checkpoint,
            )
            if reply.status == "ok":
                return

    def buy(self, quota: int) -> None:
        """One more package; the bank is told when the plane comes round to it."""
        self.quota += quota
        self.left += quota
        self.version += 1

    def tell(self, fault: str | None = None) -> bool:
        parts = (Part("p", self.quota, self.left, 0),)
        balance = Balance(ACCOUNT, self.version, self.clock.now_ms(), parts)
        with suppress(Killed):
            return bool(self.try_(self.bank.tell(0, self.epoch, [balance]), fault))
        return False

    def plane(self, fault: str | None = None) -> Step | None:
        """The next step of a drain or a reset, as billing_sync.drain has them."""
        head = self.try_(self.counters.head(0)) if self.ledger_up else None
        if head is None:
            return None
        step = next_step(epoch=self.epoch, last=self.last, head=head)
        with suppress(Killed):
            if step is Step.SET_ASIDE:
                ids = {"epoch": self.epoch, "last": self.last, "new_id": self.ids()}
                self.try_(self.counters.set_aside(0, **ids), fault)
            elif step is Step.COMMIT:
                self._commit()
            elif step is Step.DROP and self.tell():
                drop = self.counters.drop_drain(
                    0, drain_id=self.last, epoch=self.epoch, checkpoints=self.checkpoints
                )
                self.try_(drop, fault)
            elif step is Step.RESET:
                self._reset(fault)
        return step

    def _commit(self) -> None:
        _, drain = self.try_(self.counters.read(0))
        self.left -= sum(drain.deltas.values())
        assert self.left >= -self.slack
        self.checkpoints |= drain.positions
        self.last = drain.id
        self.version += 1

    def _reset(self, fault: str | None) -> None:
        self.epoch = self.ids()
        since = self.up_ms - PACKAGE_LIFE_MS
        heard = {lane.name for lane in self.lanes if lane.alive or lane.died >= since}
        settling = Settling(frozenset(heard), now=self.clock.now_ms()) if self.lanes else NOBODY
        work = self.counters.reset(
            0,
            epoch=self.epoch,
            last=self.last,
            checkpoints=self.checkpoints,
            settling=settling,
        )
        self.try_(work, fault)

    def deliver(self, number: int) -> None:
        """A message that everybody has given up arrives."""
        if self.up and self.network.late:
            message = self.network.late.pop(number % len(self.network.late))
            with suppress(RedisError):
                self.run(Redis.execute_command(self.redis, *message))  # type: ignore[no-untyped-call]  # redis-py's

    def empty(self) -> None:
        if self.up:
            self.run(self.redis.flushall())

    def dump(self) -> tuple[dict[Any, Any], int]:
        async def all_of_it() -> dict[Any, Any]:
            return {key: await self.redis.dump(key) for key in await self.redis.keys()}

        return self.run(all_of_it()), self.granted

    def set_back(self, earlier: tuple[dict[Any, Any], int]) -> None:
        state, granted = earlier
        self.slack += self.granted - granted

        async def restore() -> None:
            await self.redis.flushall()
            for key, value in state.items():
                await self.redis.restore(key, 0, value)

        if self.up:
            self.run(restore())

    def wait(self, ms: int) -> None:
        """Time passes. While Redis is there everybody does in time what he must."""
        while ms > 0:
            step = min(ms, 2000)
            ms -= step
            self.clock.advance(ms=step)
            if self.up:
                self.up_ms += step
                self._keep_up()

    def _keep_up(self) -> None:
        for lane in self.lanes:
            if lane.alive:
                late = self.clock.now_ms() - lane.heard >= PACKAGE_LIFE_MS // RENEW_PART
                if late or lane.must_say_all:
                    self.flush(lane)
                    self.ask(lane, 0)
            elif self.up_ms - lane.died >= _ADOPTED_MS:
                self.flush(lane)
        self.plane()

    # --- what must hold -----------------------------------------------------------------

    def used(self) -> int:
        return sum(sum(lane.records) for lane in self.lanes)

    def promised(self) -> int:
        """What open calls may still use, and what could be reserved for others right now."""
        now = self.clock.now_ms()
        spare = sum(lane.spare for lane in self.lanes if now < lane.usable_until)
        return spare + sum(sum(lane.open) for lane in self.lanes)

    def check(self) -> None:
        assert self.used() + self.promised() <= self.quota + self.slack

    def come_to_rest(self) -> None:
        """Everybody dies, all is drained, every lease has had its time."""
        self.up = True
        for lane in self.lanes:
            self.kill(lane)
        while self.network.late:
            self.deliver(0)
        for _ in range(2):
            self.wait(PACKAGE_LIFE_MS + 2 * SETTLE_MS)
            for _ in range(12):
                for lane in self.lanes:
                    self.flush(lane)
                self.plane()
            self.tell()
        assert self.left == self.quota - self.used()

    def check_all_is_back(self) -> None:
        """Somebody new gets all that is unspent, and nobody gets it again."""
        first, second = self.start(), self.start()
        for lane in (first, second):
            self.flush(lane)
        rest = self.left
        for _ in range(3):
            self.ask(first, 0)
            self.ask(second, 0)
            self.wait(SETTLE_MS)
        got = self.ask(first, rest, max(rest, 1)) if rest > 0 else None
        assert got is None or got.granted == rest
        again = self.ask(second, 1)
        assert again is not None
        assert (again.state, again.granted) == ("ok", 0)
