"""What one worker holds of one limit: taken from by calls, refilled by the bank. Pure.

Three kinds: a prepaid package, slots of calls that may be open at once, and a rate. Each says what it
wants to ask next (`next_ask`) and is told the answer (`told`). Of packages and slots the bank is told
what is, not what changed, so a lost answer is made good by the next message.
"""

from collections import deque
from typing import Final, TypeAlias

from gateway.leases import LACKING, LEAST_PAUSE_S, NOTHING, Lease, Needed
from metering.lending import (
    PACKAGE_LIFE_MS,
    RENEW_PART,
    SLOT_LIFE_MS,
    Balance,
    Lent,
    PackageAsk,
    RateAsk,
    SlotsAsk,
)

_AHEAD_MS: Final = 1000  # a package is leased for so long a use
_RATE_AHEAD_MS: Final = 200
_RATE_LIFE_S: Final = 1.0
_PACKAGE_LIFE_S: Final = PACKAGE_LIFE_MS / 1000
_SLOT_LIFE_S: Final = SLOT_LIFE_MS / 1000
_TOGETHER: Final = 64  # records whose use is kept as one number until the ledger has them all


class PackagePurse(Lease):
    """A part of a customer's prepaid packages for one billing item, in the meter's unit.

    `held` is what the bank must not lend to others: at hand, reserved by open calls, and used by
    records that the ledger does not hold yet.
    """

    __slots__ = (
        "_behind",
        "_held",
        "_stale",
        "largest",
        "ledger",
        "ledger_s",
        "meter",
        "reserved",
        "used",
    )

    def __init__(self, name: str, partition: int, meter: str = "") -> None:
        super().__init__(name, partition)
        self.meter = meter
        self.reserved = 0  # by open calls
        self.used = 0  # by records after the checkpoint
        self.largest = 0  # what a call used at most
        self.ledger: Balance | None = None  # as the bank shows it
        self.ledger_s = float("-inf")  # when it was asked for
        self._behind: deque[tuple[int, int, int]] = deque()  # first and last record, use
        self._held = 0  # as last told
        self._stale = False  # the bank counts something that the ledger does too

    @property
    def held(self) -> int:
        return self.spare + self.reserved + self.used

    @property
    def overshoot_bound(self) -> int:
        """What the open calls may use beyond what they reserved, if none is larger than any before."""
        return max(0, self.calls * self.largest - self.reserved)

    @property
    def quiet(self) -> bool:
        """Whether there is nothing to tell any more."""
        return not (self.held or self.calls or self._held)

    def remaining(self, now_ms: int) -> int | None:
        """What the ledger last said is left for new usage, None where it has said nothing."""
        if self.ledger is None:
            return None
        return sum(p.left for p in self.ledger.parts if not p.expires or p.expires > now_ms)

    def take(self, amount: int, least: int, now_s: float) -> int:
        """Reserve for a call; where no more can be had, what there is, at least `least`.

        Returns what was reserved, or LACKING.
        """
        spare = self.spare
        if now_s >= self.valid_until_s:
            return LACKING
        if spare < amount:
            if spare < least or self.left > 0:
                return LACKING
            amount = spare
        self.spare = spare - amount
        self.reserved += amount
        self.calls += 1
        self._taken += amount
        return amount

    def take_rest(self, least: int, now_s: float) -> int:
        """Reserve what there is, at least `least`: more did not come in time."""
        if now_s >= self.valid_until_s or self.spare < least:
            return LACKING
        return self.take(self.spare, least, now_s)

    def grow(self, more: int, now_s: float) -> int:
        """Reserve up to so much more for an open call; how much it was."""
        if now_s >= self.valid_until_s:
            return 0
        amount = min(more, self.spare)
        self.spare -= amount
        self.reserved += amount
        self._taken += more  # so that enough is asked for
        return amount

    def settle(self, reserved: int, actual: int, number: int) -> None:
        """A call, or a part of one, that had reserved so much used `actual`.

        `number` is that of its record, 0 where it has none and uses nothing. Where the call is over
        `calls` is the caller's to lower.
        """
        self.reserved -= reserved
        self.spare = max(0, self.spare + reserved - actual)
        if actual <= 0 or not number:
            return
        self.largest = max(self.largest, actual)
        self.used += actual
        behind = self._behind
        if behind and number - behind[-1][0] < _TOGETHER:
            first, _, used = behind[-1]
            behind[-1] = (first, number, used + actual)
        else:
            behind.append((number, number, actual))

    def checkpoint(self, number: int) -> None:
        """The ledger holds the lane's records of this partition up to `number`."""
        behind = self._behind
        while behind and behind[0][1] <= number:
            self.used -= behind.popleft()[2]
            self._stale = True

    def next_ask(self, now_s: float, needed: Needed = NOTHING) -> PackageAsk | None:
        """What to say to the bank now, if anything."""
        expired = now_s >= self.valid_until_s
        if expired:
            self.spare = 0  # others may have been lent it
        target = self.measure(now_s) * _AHEAD_MS // 1000 + needed.amount
        want = 0
        if needed.amount or (now_s >= self.refused_until_s and self.spare <= target // 2):
            want = max(0, target - self.spare)
        give = self._surplus(target, now_s)
        self.spare -= give
        if not (want or give or self._must_renew(now_s, expired=expired)):
            return None
        self._stale = False
        return PackageAsk(self.name, self.held, want, needed.least)

    def _surplus(self, target: int, now_s: float) -> int:
        if self.idle(now_s) and not target:
            return self.spare
        keep = 2 * target if self.wanted else 8 * target
        return max(0, self.spare - keep) if target else 0

    def _must_renew(self, now_s: float, *, expired: bool) -> bool:
        if self.quiet:
            return False
        since_s = now_s - self._sent_s
        changed = self._stale or (self.held == 0 and self._held > 0)
        if expired or since_s >= _PACKAGE_LIFE_S / RENEW_PART:
            return True
        return changed and since_s >= LEAST_PAUSE_S

    def told(self, ask: PackageAsk, lent: Lent, sent_s: float, now_s: float) -> None:
        """The bank's answer to what was asked at `sent_s`."""
        if self.hear(lent, sent_s, now_s, wanted=ask.want, life_s=lent.life_ms / 1000):
            self._held = ask.held + lent.granted

    def lost(self) -> None:
        """It is said again."""
        self._stale = True


class SlotsPurse(Lease):
    """Some of `most` calls that may be open at once."""

    __slots__ = ("_held", "most")

    def __init__(self, name: str, partition: int, most: int) -> None:
        super().__init__(name, partition)
        self.most = most
        self._held = 0

    @property
    def held(self) -> int:
        return self.calls + self.spare

    @property
    def quiet(self) -> bool:
        return not (self.held or self._held)

    @property
    def remaining(self) -> int:
        """How many more calls may be open, as far as is known here."""
        if self.local:
            return max(0, self.most - self.calls)
        return min(self.most, self.spare + max(0, self.left))

    def take(self, amount: int, least: int, now_s: float) -> int:
        """A slot for a call: 1, or LACKING."""
        del amount, least
        if self.local:
            if self.calls >= self.most:
                return LACKING
        elif not self.spare or now_s >= self.valid_until_s:
            return LACKING
        else:
            self.spare -= 1
        self.calls += 1
        self._taken += 1
        return 1

    def take_anyway(self, amount: int) -> int:
        """A slot though there is none: the limit only reports."""
        del amount
        self.calls += 1
        self._taken += 1
        return 1

    def is_over(self, now_s: float) -> bool:
        """Whether more than the limit is used, as far as is known here."""
        del now_s
        return self.told_s > 0 and self.left + self.spare < 0

    def settle(self) -> None:
        """A call is over."""
        self.calls -= 1
        if not self.local and self.held < self.most:
            self.spare += 1

    def next_ask(self, now_s: float, needed: Needed = NOTHING) -> SlotsAsk | None:
        """What to say to the bank now, if anything."""
        expired = now_s >= self.valid_until_s
        if expired:
            self.spare = 0
        self.measure(now_s)
        give = self._surplus(needed, now_s)
        self.spare -= give
        want = max(0, needed.amount - self.spare)
        if want and not self.wanted:
            want += self.calls // 4
        due = want > 0 or give > 0 or (not self.quiet and self._must_renew(now_s, expired=expired))
        return SlotsAsk(self.name, self.held, want, self.most) if due else None

    def _surplus(self, needed: Needed, now_s: float) -> int:
        if self.idle(now_s) and not needed.amount:
            return self.spare
        keep = needed.amount + (0 if self.wanted else max(2, self.calls))
        return max(0, self.spare - keep)

    def _must_renew(self, now_s: float, *, expired: bool) -> bool:
        return expired or now_s - self._sent_s >= _SLOT_LIFE_S / RENEW_PART

    def told(self, ask: SlotsAsk, lent: Lent, sent_s: float, now_s: float) -> None:
        """The bank's answer to what was asked at `sent_s`."""
        if self.hear(lent, sent_s, now_s, wanted=ask.want, life_s=lent.life_ms / 1000):
            self._held = ask.held + lent.granted


class RatePurse(Lease):
    """Some of `units` per `period_ms`, of which `burst` may come at once (GCRA)."""

    __slots__ = ("_owed_told", "_tat_us", "burst", "owed", "period_ms", "units")

    def __init__(self, name: str, partition: int, units: int, period_ms: int, burst: int) -> None:
        super().__init__(name, partition)
        self.units, self.period_ms, self.burst = units, period_ms, burst
        self.owed = 0  # used beyond what was granted; below zero what goes back
        self._owed_told = 0
        self._tat_us = 0  # when the bucket is full again; only while the bank is away

    @property
    def quiet(self) -> bool:
        return not (self.spare or self.owed or self.calls)

    @property
    def remaining(self) -> int:
        """How many more units may come at once, as far as is known here."""
        return max(0, min(self.burst, self.spare + max(0, self.left) - max(0, self.owed)))

    def take(self, amount: int, least: int, now_s: float) -> int:
        """Use some: how much, which is never more than may come at once; or LACKING."""
        del least
        amount = min(amount, self.burst)
        if self.local:
            if not self._let_in(amount, now_s):
                return LACKING
        elif self.spare < amount or now_s >= self.valid_until_s:
            return LACKING
        else:
            self.spare -= amount
        self.calls += 1
        self._taken += amount
        return amount

    def take_anyway(self, amount: int) -> int:
        """Use some though there is none: the limit only reports."""
        amount = min(amount, self.burst)
        self.owed += amount
        self.calls += 1
        self._taken += amount
        return amount

    def is_over(self, now_s: float) -> bool:
        """Whether more than the limit is used, as far as is known here."""
        earned = int((now_s - self.told_s) * 1000) * self.units // self.period_ms
        return self.told_s > 0 and self.left + self.spare + earned < self.owed

    def settle(self, taken: int, actual: int) -> None:
        """A call that took so much used `actual`; `calls` is the caller's to lower."""
        more = actual - taken
        if self.local:
            self._tat_us += more * self._unit_us()
        elif more <= self.spare:
            self.spare -= more
        else:
            self.owed += more - self.spare
            self.spare = 0

    def next_ask(self, now_s: float, needed: Needed = NOTHING) -> RateAsk | None:
        """What to say to the bank now, if anything."""
        if self.spare and now_s >= self.valid_until_s:
            self.owed -= self.spare
            self.spare = 0
        target = self.measure(now_s) * _RATE_AHEAD_MS // 1000 + needed.amount
        want = 0
        if now_s >= self.refused_until_s and self.spare <= target // 2:
            want = max(0, min(target, self.burst) - self.spare)
        owes = self.owed and now_s - self._sent_s >= _RATE_AHEAD_MS / 1000
        if not (want or owes):
            return None
        self._owed_told = self.owed
        return RateAsk(self.name, self.units, self.period_ms, self.burst, self.owed, want)

    def told(self, ask: RateAsk, lent: Lent, sent_s: float, now_s: float) -> None:
        """The bank's answer to what was asked at `sent_s`."""
        if self.hear(lent, sent_s, now_s, wanted=ask.want, life_s=_RATE_LIFE_S):
            self.owed -= ask.owed
            self._owed_told = 0

    def lost(self) -> None:
        """What was used is told again, at worst twice; what was given back is not."""
        self.owed -= min(0, self._owed_told)
        self._owed_told = 0

    def reset_s(self) -> int:
        """Seconds until all of it may come at once again, rounded up."""
        return -(-(self.burst - self.remaining) * self.period_ms // (self.units * 1000))

    def _unit_us(self) -> int:
        return self.period_ms * 1000 // self.units

    def _let_in(self, amount: int, now_s: float) -> bool:
        now_us, unit_us = int(now_s * 1_000_000), self._unit_us()
        tat_us = max(self._tat_us, now_us) + amount * unit_us
        if tat_us - now_us > self.burst * unit_us:
            return False
        self._tat_us = tat_us
        return True


Purse: TypeAlias = PackagePurse | SlotsPurse | RatePurse
