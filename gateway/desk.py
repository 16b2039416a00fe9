"""Where calls get what they need of their limits, or wait for it, or are refused. Without IO.

A call that finds too little waits for what the bank says next: at most WAIT_S, and at most
MAX_WAITING of them in a worker. What becomes of it:

| it lacks   | and                                           | then                              |
|------------|-----------------------------------------------|-----------------------------------|
| a package  | the ledger says that too little is left       | 402 package_used_up               |
|            | the rest is with other calls, after the wait  | 429 package_reserved              |
|            | nobody says anything, after the wait          | 503 quota_unavailable             |
| a rate     | the bank says when there is more              | 429 rate_limited                  |
| a slot     | nobody gave one back, after the wait          | 429 too_many_concurrent           |
| either     | the bank is silent, `on_store_down: allow`    | only this worker's share counts   |
| either     | the bank is silent, `on_store_down: deny`     | 503 quota_unavailable             |
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final, Protocol

from gateway.batches import Batch, batch_of
from gateway.brakes import Brake, Brakes, LetIn
from gateway.errors import GatewayError
from gateway.estimates import Estimate
from gateway.holds import Hold
from gateway.leases import Needed
from gateway.limit_errors import (
    QuotaUnavailable,
    RateLimited,
    TooManyConcurrent,
    over_limit,
    package_reserved,
    package_used_up,
)
from gateway.purse import PackagePurse, Purse, RatePurse, SlotsPurse

WAIT_S: Final = 0.3
MAX_WAITING: Final = 1024
_LEDGER_FRESH_S: Final = 1.0
_REFUSED_S: Final = 0.25  # who comes so soon after one who waited in vain need not wait too


class Waiting(Protocol):
    """A call that waits."""

    def let_in(self, refusal: GatewayError | None) -> None:
        """It holds what it lacked, or is refused."""


class Desk:
    """Of one worker. `active` are the purses about which there is something to tell the bank."""

    def __init__(
        self,
        now_ms: Callable[[], int],
        loop_time: Callable[[], float],
        *,
        go_on_alone: bool,
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        """`go_on_alone`: without the bank rates and slots count in this worker alone."""
        self._now_ms = now_ms
        self._now_s = loop_time
        self._go_on_alone = go_on_alone
        self.wake = wake
        self.away = False  # the bank
        self.active: dict[Purse, None] = {}
        self._batches: list[Batch] = []
        self._waiting: dict[Waiting, tuple[Hold, float]] = {}  # and since when
        self.refusals: Counter[tuple[str, str]] = Counter()  # by limit and code
        self.shadow_refusals: Counter[tuple[str, str]] = Counter()
        self.waits: Counter[str] = Counter()  # by how they ended
        self.most_over: Counter[str] = Counter()  # by meter, of packages not in use any more

    # A call comes

    def take(self, hold: Hold) -> GatewayError | None:
        """Take all of it. Where something lacks: the refusal, or None and `hold.lacks` says what."""
        now_s = self._now_s()
        while not self._taken(hold, now_s):
            refusal = self._refusal(hold, now_s, waited_s=0.0)
            if refusal is None and len(self._waiting) >= MAX_WAITING:
                refusal = self._refusal(hold, now_s, waited_s=math.inf)
            if refusal is not None or not (self.away and self._go_alone(hold)):
                return refusal
        return None

    def refusal_of(self, hold: Hold) -> GatewayError:
        """Why a call that lasts can have no more of the package it lacks."""
        brake, _ = hold.lacking
        refusal: GatewayError | None = None
        if isinstance(brake.purse, PackagePurse):
            remaining = brake.purse.remaining(self._now_ms())
            as_of = brake.purse.ledger.as_of if brake.purse.ledger is not None else 0
            if not brake.purse.settling and not self.away:
                refusal = package_used_up(max(0, remaining or 0), 1, brake.purse.meter, as_of)
        refusal = refusal or QuotaUnavailable()
        self.refusals[brake.limit, refusal.code] += 1
        return refusal

    def wait(self, waiting: Waiting, hold: Hold) -> None:
        """It will be told."""
        self._waiting[waiting] = (hold, self._now_s())
        self.wake()

    def leave(self, waiting: Waiting) -> None:
        """It does not wait any more."""
        if self._waiting.pop(waiting, None) is not None:
            self.waits["left"] += 1

    def give_back(self, hold: LetIn) -> None:
        """The call is over; what it did not settle is released."""
        hold.release()
        self.has_more()

    def has_more(self) -> None:
        """A call gave something back."""
        if self._waiting:
            self.wake()

    def batch(self, brakes: Brakes, now_s: float) -> Batch | None:
        """What lets the next calls in together; None where each needs a Hold."""
        brakes.batch = batch = batch_of(brakes, now_s)
        if batch is not None:
            self._batches.append(batch)
        return batch

    def close_batches(self) -> None:
        """Book what calls used that were let in together, so that every purse says what is."""
        for batch in self._batches:
            batch.close()
        self._batches.clear()

    # For whoever asks the bank

    def needed(self) -> dict[Purse, Needed]:
        """What waiting calls lack, by purse."""
        lacking: dict[Purse, Needed] = {}
        for brake, need in self._short_of():
            amount, least = lacking.get(brake.purse, Needed(0, need.amount))
            part = need.amount if need.bound else 1
            lacking[brake.purse] = Needed(amount + need.amount, min(least, part))
        return lacking

    def _short_of(self) -> Iterator[tuple[Brake, Estimate]]:
        """All that waiting calls lack, not only what comes first: they have no time to ask for one
        after the other."""
        now_s = self._now_s()
        for hold, _ in self._waiting.values():
            yield from hold.short_of(now_s)

    def poor(self) -> Iterator[PackagePurse]:
        """The packages of which the ledger must be asked what is left."""
        now_s = self._now_s()
        for brake, _ in self._short_of():
            purse = brake.purse
            if isinstance(purse, PackagePurse) and now_s - purse.ledger_s >= _LEDGER_FRESH_S:
                yield purse

    def forget(self, purse: Purse) -> None:
        """There is nothing to tell of it. It is kept for who waits for it, or may come soon."""
        waiting = self._waiting.values()
        if purse.idle(self._now_s()) and not any(purse in h.brakes.purses for h, _ in waiting):
            purse.active = purse.local = False
            self.active.pop(purse, None)
            if isinstance(purse, PackagePurse):
                self.most_over[purse.meter] = max(self.most_over[purse.meter], purse.most_over)

    @property
    def waiting(self) -> int:
        """How many calls wait."""
        return len(self._waiting)

    def serve(self) -> None:
        """Let in whom there is enough for now, and refuse who waited in vain."""
        now_s = self._now_s()
        for waiting, (hold, since_s) in list(self._waiting.items()):
            if waiting not in self._waiting:
                continue  # it left because of what became of another
            self._serve_one(waiting, hold, now_s, waited_s=now_s - since_s)

    def _serve_one(self, waiting: Waiting, hold: Hold, now_s: float, *, waited_s: float) -> None:
        over = waited_s >= WAIT_S
        while not self._taken(hold, now_s, rest=over):
            refusal = self._refusal(hold, now_s, waited_s=waited_s)
            if refusal is not None:
                self._dismiss(waiting, refusal, "refused")
                return
            if not ((over or self.away) and self._go_alone(hold)):
                return
        self._dismiss(waiting, None, "granted")

    def _taken(self, hold: Hold, now_s: float, *, rest: bool = False) -> bool:
        taken = hold.take(now_s, rest=rest)
        if self._batches and not taken:
            self.close_batches()
            taken = hold.take(now_s, rest=rest)
        if taken and not hold.exceeded:
            return True
        for brake in hold.exceeded:
            self._activate(brake.purse, now_s)
            purse = brake.purse
            if taken and not isinstance(purse, PackagePurse) and purse.is_over(now_s):
                self.shadow_refusals[brake.limit, brake.kind] += 1
        if not taken:
            for brake, _ in hold.short_of(now_s):
                self._activate(brake.purse, now_s)
        return taken

    def _dismiss(self, waiting: Waiting, refusal: GatewayError | None, outcome: str) -> None:
        del self._waiting[waiting]
        self.waits[outcome] += 1
        waiting.let_in(refusal)

    def _activate(self, purse: Purse, now_s: float) -> None:
        purse.used_s = now_s
        if not purse.active:
            purse.active = True
            self.active[purse] = None
            self.wake()

    def _go_alone(self, hold: Hold) -> bool:
        """Whether what lacks counts in this worker alone from now on, and did not before."""
        purse = hold.lacking[0].purse
        if purse.local or not self._go_on_alone or isinstance(purse, PackagePurse):
            return False
        purse.local = True
        purse.valid_until_s = -math.inf  # so that `take` of the purse itself is asked
        return True

    # What becomes of it

    def _refusal(self, hold: Hold, now_s: float, *, waited_s: float) -> GatewayError | None:
        brake, need = hold.lacking
        purse = brake.purse
        if isinstance(purse, PackagePurse):
            least = need.amount if need.bound else 1
            refusal = self._no_package(purse, least, now_s, waited_s)
        else:
            refusal = self._over_limit(brake, now_s, waited_s)
        if refusal is not None:
            self.refusals[brake.limit, refusal.code] += 1
        return refusal

    def _no_package(
        self, purse: PackagePurse, least: int, now_s: float, waited_s: float
    ) -> GatewayError | None:
        remaining = purse.remaining(self._now_ms())
        as_of = purse.ledger.as_of if purse.ledger is not None else 0
        if remaining is not None and remaining < least and now_s - purse.ledger_s < _LEDGER_FRESH_S:
            return package_used_up(max(0, remaining), least, purse.meter, as_of)
        over = waited_s >= WAIT_S or now_s < purse.in_vain_until_s
        if not (over or self.away):
            return None
        if self.away or purse.settling or remaining is None or purse.told_s < now_s - 2 * WAIT_S:
            return QuotaUnavailable()
        self._in_vain(purse, now_s, waited_s)
        return package_reserved(max(0, remaining), least, purse.meter, as_of)

    def _over_limit(self, brake: Brake, now_s: float, waited_s: float) -> GatewayError | None:
        purse = brake.purse
        silent = purse.told_s <= now_s - waited_s and not purse.local
        if isinstance(purse, RatePurse) and (purse.local or now_s < purse.refused_until_s):
            return self._too_much(RateLimited, brake, now_s)
        if isinstance(purse, SlotsPurse) and (purse.local or now_s < purse.in_vain_until_s):
            return self._too_much(TooManyConcurrent, brake, now_s)
        if waited_s < WAIT_S and not self.away:
            return None
        if silent or self.away:
            return None if self._go_on_alone else QuotaUnavailable()
        self._in_vain(purse, now_s, waited_s)
        kind = RateLimited if isinstance(purse, RatePurse) else TooManyConcurrent
        return self._too_much(kind, brake, now_s)

    def _in_vain(self, purse: Purse, now_s: float, waited_s: float) -> None:
        if WAIT_S <= waited_s < math.inf:
            purse.in_vain_until_s = now_s + _REFUSED_S

    def _too_much(self, kind: type[GatewayError], brake: Brake, now_s: float) -> GatewayError:
        retry_s = max(1, math.ceil(brake.purse.retry_s - now_s))
        return over_limit(kind(), brake.name, retry_s, Brakes((brake,)).headers())
