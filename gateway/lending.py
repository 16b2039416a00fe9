"""Asks the bank for what calls need, for all of them together: one call per partition and turn.

A turn comes when a call lacks something, at most every GAP_S, and else every TURN_S, or every IDLE_S
while nothing is lent: so the calls to Redis grow with the customers in use, never with their requests. What goes wrong is tried again
behind a circuit breaker; the desk is told when the bank is away.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple, Protocol

import anyio

from gateway.desk import Desk
from gateway.leases import NOTHING, Needed
from gateway.purse import PackagePurse, Purse, RatePurse, SlotsPurse
from metering.breaker import Breaker
from metering.errors import MeteringError
from metering.lending import (
    PACKAGE_LIFE_MS,
    RENEW_PART,
    Ask,
    Balance,
    Lent,
    PackageAsk,
    RateAsk,
    SlotsAsk,
)

log = logging.getLogger("tallygate.gateway")

TURN_S: Final = 0.05
IDLE_S: Final = 0.25  # others may wait for us to say that we hold nothing, after a reset
GAP_S: Final = 0.01
_PART: Final = 8  # a turn takes at most so small a part of the time
_LIFE_S: Final = PACKAGE_LIFE_MS / 1000


class Bank(Protocol):
    """The bank in Redis (metering/bank.py). Everything raises MeteringError."""

    async def ask(  # noqa: PLR0913  (the message as it is)
        self,
        partition: int,
        lane: str,
        epoch: str,
        turn: int,
        asks: Sequence[Ask],
        *,
        whole: bool = False,
        checkpoint: int = 0,
    ) -> list[Lent]: ...

    async def balances(self, partition: int, accounts: Sequence[str]) -> list[Balance]: ...


class Places(Protocol):
    """Where the partitions stand, as the lane knows it."""

    @property
    def epochs(self) -> Mapping[int, str]:
        """The last that was heard of each partition, though it be over."""
        ...

    def epoch(self, partition: int) -> str: ...

    def checkpoint(self, partition: int) -> int: ...

    async def learn(self, partition: int) -> None:
        """Ask for both."""


class _Held(NamedTuple):
    """When we last held some of a package in a partition, and when we last said what."""

    last_s: float
    said_s: float


class Lending:
    """Of one worker and its lane."""

    def __init__(
        self, bank: Bank, desk: Desk, lane: str, places: Places, loop_time: Callable[[], float]
    ) -> None:
        self._bank = bank
        self._desk = desk
        self._lane = lane
        self._places = places
        self._now_s = loop_time
        self._turn = 0
        self._whole: set[int] = set()  # partitions where all we hold must be said
        self._lost: set[int] = set()  # partitions of an epoch we do not know
        self._epochs: dict[int, str] = {}  # those we have seen
        self._held: dict[int, _Held] = {}  # partitions where we may be waited for
        self._woken = anyio.Event()
        self._waited_for = anyio.Event()  # set while calls wait
        self.breaker = Breaker()
        self.asks = 0
        desk.wake = self._wake

    async def run(self) -> None:
        """For ever."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._serve_forever)
            while True:
                begun_s = self._now_s()
                try:
                    await self.turn()
                except Exception:
                    log.exception("asking for quota failed")
                await anyio.sleep(max(GAP_S, (self._now_s() - begun_s) / _PART))
                with anyio.move_on_after(TURN_S if self._desk.active else IDLE_S):
                    await self._woken.wait()

    async def _serve_forever(self) -> None:
        """Whoever waited in vain is told so, also while Redis does not answer."""
        while True:
            await self._waited_for.wait()
            await anyio.sleep(TURN_S)
            if not self._desk.waiting:
                self._waited_for = anyio.Event()
            try:
                self._desk.serve()
            except Exception:
                log.exception("letting calls in failed")

    def _wake(self) -> None:
        self._woken.set()
        if self._desk.waiting:
            self._waited_for.set()

    async def turn(self) -> None:
        """Say what there is to say, once."""
        self._woken = anyio.Event()
        self._desk.close_batches()
        self._desk.serve()  # with what others gave back
        self._look_for_new_epochs()
        self._look_after_held(self._now_s())
        needed = self._desk.needed()
        heard, now_s = self.asks, self._now_s()
        if self.breaker.allows(now_s):
            for partition, purses in self._by_partition().items():
                await self._say(partition, purses, needed)
                if self.breaker.open:
                    break
            await self._look_up()
            if self.breaker.open and self.asks == heard:
                await self._probe()
        self._desk.away = self.breaker.open
        self._desk.serve()
        self._forget()

    async def give_back(self) -> None:
        """The last turn: no call is open, and what is at hand goes back."""
        self._desk.close_batches()
        for purse in self._desk.active:
            if isinstance(purse, RatePurse):
                purse.owed -= purse.spare
            purse.spare = 0
            purse.valid_until_s = float("-inf")  # so that it is told
        await self.turn()

    def _by_partition(self) -> dict[int, list[Purse]]:
        parts: dict[int, list[Purse]] = {partition: [] for partition in self._whole}
        for purse in self._desk.active:
            parts.setdefault(purse.partition, []).append(purse)
        return parts

    def _look_for_new_epochs(self) -> None:
        """Also of partitions where we hold nothing: the bank waits for the word of all who live."""
        epochs = self._places.epochs
        if epochs != self._epochs:
            self._whole |= {p for p, epoch in epochs.items() if self._epochs.get(p) != epoch}
            self._epochs = dict(epochs)

    def _look_after_held(self, now_s: float) -> None:
        """A Redis that was set back waits for us where we held something of late."""
        for partition, held in list(self._held.items()):
            if now_s - held.last_s > _LIFE_S:
                del self._held[partition]
            elif now_s - held.said_s > _LIFE_S / RENEW_PART:
                self._whole.add(partition)

    async def _say(
        self, partition: int, purses: list[Purse], needed: Mapping[Purse, Needed]
    ) -> None:
        packages = any(isinstance(purse, PackagePurse) for purse in purses)
        if packages and (partition in self._lost or not self._places.epoch(partition)):
            await self._places.learn(partition)
        # From here to the ask nothing is awaited: epoch, checkpoint and what is held belong together.
        epoch, checkpoint = self._places.epoch(partition), self._places.checkpoint(partition)
        whole = partition in self._whole or any(purse.settling for purse in purses)
        said = self._asks_of(purses, needed, checkpoint, whole=whole)
        if not said and not (epoch and partition in self._whole):
            return
        self._turn += 1
        asks, sent_s = [ask for _, ask in said], self._now_s()
        try:
            answers = await self._bank.ask(
                partition, self._lane, epoch, self._turn, asks, whole=whole, checkpoint=checkpoint
            )
        except MeteringError as reason:
            self.breaker.failed(self._now_s(), type(reason).__name__)
            for purse, _ in said:
                purse.lost()
            return
        self.asks += 1
        self.breaker.succeeded()
        if epoch:
            self._whole.discard(partition)
        self._note_held(partition, said, answers)
        self._hear(partition, said, answers, sent_s)

    def _asks_of(
        self, purses: list[Purse], needed: Mapping[Purse, Needed], checkpoint: int, *, whole: bool
    ) -> list[tuple[Purse, Ask]]:
        self._desk.close_batches()
        now_s = self._now_s()
        said: list[tuple[Purse, Ask]] = []
        rest: list[tuple[Purse, Ask]] = []
        for purse in purses:
            if isinstance(purse, PackagePurse):
                purse.checkpoint(checkpoint)
            ask: Ask | None = purse.next_ask(now_s, needed.get(purse, NOTHING))
            if ask is not None:
                said.append((purse, ask))
            elif whole and isinstance(purse, PackagePurse):
                rest.append((purse, PackageAsk(purse.name, purse.held, 0, 1)))
        return said + rest

    def _note_held(
        self, partition: int, said: list[tuple[Purse, Ask]], answers: list[Lent]
    ) -> None:
        now_s, held = self._now_s(), self._held.get(partition)
        pairs = zip(said, answers, strict=True)
        if any(isinstance(ask, PackageAsk) and ask.held + lent.granted for (_, ask), lent in pairs):
            self._held[partition] = _Held(now_s, now_s)
        elif held is not None:
            self._held[partition] = _Held(held.last_s, now_s)

    def _hear(
        self, partition: int, said: list[tuple[Purse, Ask]], answers: list[Lent], sent_s: float
    ) -> None:
        now_s = self._now_s()
        self._lost.discard(partition)
        for (purse, ask), lent in zip(said, answers, strict=True):
            if lent.state == "epoch":
                self._lost.add(partition)
            _tell(purse, ask, lent, (sent_s, now_s))
        self._desk.serve()

    async def _probe(self) -> None:
        """Nobody needs anything, but whether the bank is there matters to who comes next."""
        try:
            await self._bank.balances(0, [""])
        except MeteringError as reason:
            self.breaker.failed(self._now_s(), type(reason).__name__)
        else:
            self.breaker.succeeded()

    async def _look_up(self) -> None:
        """What the ledger has left of packages that calls wait for."""
        poor: dict[int, list[PackagePurse]] = {}
        for purse in self._desk.poor():
            poor.setdefault(purse.partition, []).append(purse)
        for partition, purses in poor.items():
            by_name = {purse.name: purse for purse in purses}
            try:
                balances = await self._bank.balances(partition, list(by_name))
            except MeteringError as reason:
                self.breaker.failed(self._now_s(), type(reason).__name__)
                return
            for purse in by_name.values():
                purse.ledger_s = self._now_s()
            for balance in balances:
                by_name[balance.account].ledger = balance

    def _forget(self) -> None:
        for purse in [purse for purse in self._desk.active if purse.quiet]:
            self._desk.forget(purse)


def _tell(purse: Purse, ask: Ask, lent: Lent, times: tuple[float, float]) -> None:
    match purse, ask:
        case PackagePurse(), PackageAsk():
            purse.told(ask, lent, *times)
        case SlotsPurse(), SlotsAsk():
            purse.told(ask, lent, *times)
        case RatePurse(), RateAsk():
            purse.told(ask, lent, *times)
