"""A bank that lends from memory, and a gateway with limits whose bank it is."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway.limit_settings import Limits
from gateway.limiting import Lane, Limiting, limiting
from gateway.purse import PackagePurse, Purse, SlotsPurse
from metering.clock import Clock
from metering.errors import MeteringUnavailable
from metering.lending import Ask, Balance, Lent, PackageAsk, Part, RateAsk, SlotsAsk


@dataclass
class FakeBank:
    """One lane's bank. `left` of each account is the ledger's; without an entry it is unknown.

    `others` is what other lanes hold of an account or of slots, `away` as if Redis were.
    """

    left: dict[str, int] = field(default_factory=dict)
    others: dict[str, int] = field(default_factory=dict)
    rates: dict[str, int] = field(default_factory=dict)  # what of a rate is free
    state: str = "ok"
    away: bool = False
    wanted: bool = False
    asked: list[Ask] = field(default_factory=list)
    wholes: int = 0
    turns: list[int] = field(default_factory=list)

    async def ask(
        self,
        partition: int,
        lane: str,
        epoch: str,
        turn: int,
        asks: Sequence[Ask],
        *,
        whole: bool = False,
        checkpoint: int = 0,
    ) -> list[Lent]:
        self.turns.append(turn)
        if self.away:
            raise MeteringUnavailable("away")
        self.asked += asks
        self.wholes += whole
        return [self._lend(ask) for ask in asks]

    async def balances(self, partition: int, accounts: Sequence[str]) -> list[Balance]:
        if self.away:
            raise MeteringUnavailable("away")
        known = [account for account in accounts if account in self.left]
        return [
            Balance(account, 1, 1_000, (Part("pack", 10**6, self.left[account], 0),))
            for account in known
        ]

    def _lend(self, ask: Ask) -> Lent:
        if isinstance(ask, RateAsk):
            free = self.rates.setdefault(ask.name, ask.burst) - ask.owed
            granted = max(0, min(ask.want, free))
            self.rates[ask.name] = free - granted
            return Lent("ok", granted, free - granted, retry_ms=2000 if not granted else 0)
        if isinstance(ask, SlotsAsk):
            free = ask.most - ask.held - self.others.get(ask.name, 0)
            granted = max(0, min(ask.want, free))
            return Lent("ok", granted, free - granted, self.wanted, life_ms=5000)
        return self._lend_package(ask)

    def _lend_package(self, ask: PackageAsk) -> Lent:
        if ask.account not in self.left:
            return Lent("unknown", 0, 0)
        free = self.left[ask.account] - ask.held - self.others.get(ask.account, 0)
        if self.state != "ok":
            return Lent(self.state, 0, free)  # type: ignore[arg-type]  # the test's word
        granted = min(ask.want, free) if min(ask.want, free) >= ask.least else 0
        return Lent("ok", granted, free - granted, self.wanted, life_ms=30_000)


@dataclass
class FixedPlaces:
    """Where partitions stand: what the test says."""

    epochs: dict[int, str] = field(default_factory=dict)
    checkpoints: dict[int, int] = field(default_factory=dict)
    learned: int = 0

    def epoch(self, partition: int) -> str:
        return self.epochs.get(partition, "e1")

    def checkpoint(self, partition: int) -> int:
        return self.checkpoints.get(partition, 0)

    async def learn(self, partition: int) -> None:
        self.learned += 1


def limits_of(bank: Any, settings: dict[str, Any], clock: Clock, **terms: Any) -> Limiting:
    """All that limits calls, on that bank; `go_on_alone` and `loop_time` among the terms."""
    lane = Lane("lane-1", 4, terms.pop("places", FixedPlaces()))
    limits = Limits.model_validate(settings)
    return limiting(limits, bank, lane, clock, terms.pop("loop_time"), **terms)


def open_calls(purse: Purse) -> int:
    """How many calls hold something of it; of a package what they reserved, of a rate nothing."""
    if isinstance(purse, SlotsPurse):
        return purse.calls
    return purse.reserved if isinstance(purse, PackagePurse) else 0
