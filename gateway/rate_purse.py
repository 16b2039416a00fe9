"""What one worker holds of a rate, and the rate by itself while the bank is away. Pure."""

from typing import Final

from gateway.leases import LACKING, NOTHING, Lease, Needed
from metering.lending import Lent, RateAsk

_RATE_AHEAD_MS: Final = 400  # a rate is leased for so long a use
_RATE_LIFE_S: Final = 1.0


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
        return not (self.spare or self.owed)

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
        self.taken += amount
        return amount

    def lacks(self, amount: int, now_s: float) -> bool:
        """Whether so much, or all that may come at once, is not at hand."""
        return super().lacks(min(amount, self.burst), now_s)

    def take_anyway(self, amount: int) -> int:
        """Use some though there is none: the limit only reports."""
        amount = min(amount, self.burst)
        self.owed += amount
        self.taken += amount
        return amount

    def is_over(self, now_s: float) -> bool:
        """Whether more than the limit is used, as far as is known here."""
        earned = int((now_s - self.told_s) * 1000) * self.units // self.period_ms
        return self.told_s > 0 and self.left + self.spare + earned < self.owed

    def settle(self, taken: int, actual: int) -> None:
        """A call that took so much used `actual`."""
        more = actual - taken
        if self.local:
            self._tat_us += more * self._unit_us()
        elif more <= self.spare:
            self.spare -= more
        else:
            self.owed += more - self.spare
            self.spare = 0

    def put_back(self, amount: int, *, lent: bool = True) -> None:
        """The call that took so much was not let in; `lent`: it was not taken anyway."""
        self.taken -= amount
        if lent:
            self.settle(amount, 0)
        else:
            self.owed -= amount

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
