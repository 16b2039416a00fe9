"""What one worker holds of the calls that may be open at once. Pure.

The bank is told what is, not what changed, so a lost answer is made good by the next message.
"""

from typing import Final

from gateway.leases import LACKING, NOTHING, Lease, Needed
from metering.lending import RENEW_PART, SLOT_LIFE_MS, Lent, SlotsAsk

_SLOT_LIFE_S: Final = SLOT_LIFE_MS / 1000
_LISTEN_S: Final = (
    0.1  # who has slots to spare hears so soon that others lack them: those wait for it
)
_SELDOM: Final = 20  # calls a second of which less than one comes between two turns


class SlotsPurse(Lease):
    """Some of `most` calls that may be open at once."""

    __slots__ = ("_held", "calls", "most")

    def __init__(self, name: str, partition: int, most: int) -> None:
        super().__init__(name, partition)
        self.most = most
        self.calls = 0  # open ones
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
        self.taken += 1
        return 1

    def take_anyway(self, amount: int) -> int:
        """A slot though there is none: the limit only reports."""
        del amount
        self.calls += 1
        self.taken += 1
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

    def put_back(self, amount: int, *, lent: bool = True) -> None:
        """The call was not let in; `lent`: its slot was not taken anyway."""
        self.calls -= 1
        self.taken -= amount
        if lent and not self.local:
            self.spare += 1

    def next_ask(self, now_s: float, needed: Needed = NOTHING) -> SlotsAsk | None:
        """What to say to the bank now, if anything."""
        expired = now_s >= self.valid_until_s
        if expired:
            self.spare = 0
        often = self.measure(now_s) >= _SELDOM
        give = self._surplus(needed, now_s, often=often)
        if give:
            self.spare -= give
            self.in_vain_until_s = 0.0  # there are some again
        want = max(0, needed.amount - self.spare)
        if want and not self.wanted:
            want += self.calls // 4
        due = want > 0 or give > 0 or (not self.quiet and self._must_renew(now_s, expired=expired))
        return SlotsAsk(self.name, self.held, want, self.most) if due else None

    def _surplus(self, needed: Needed, now_s: float, *, often: bool) -> int:
        if self.idle(now_s) and not needed.amount:
            return self.spare
        keep = needed.amount + (max(2, self.calls) if often and not self.wanted else 0)
        return max(0, self.spare - keep)

    def _must_renew(self, now_s: float, *, expired: bool) -> bool:
        pause_s = _LISTEN_S if self.spare else _SLOT_LIFE_S / RENEW_PART
        return expired or now_s - self._sent_s >= pause_s

    def told(self, ask: SlotsAsk, lent: Lent, sent_s: float, now_s: float) -> None:
        """The bank's answer to what was asked at `sent_s`."""
        if self.hear(lent, sent_s, now_s, wanted=ask.want, life_s=lent.life_ms / 1000):
            self._held = ask.held + lent.granted
