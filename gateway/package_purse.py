"""What one worker holds of a customer's prepaid packages. Pure.

The bank is told what is, not what changed, so a lost answer is made good by the next message.
"""

from collections import deque
from typing import Final

from gateway.leases import LACKING, LEAST_PAUSE_S, NOTHING, Lease, Needed
from metering.lending import PACKAGE_LIFE_MS, RENEW_PART, Balance, Lent, PackageAsk

_AHEAD_MS: Final = 1000  # a package is leased for so long a use
_PACKAGE_LIFE_S: Final = PACKAGE_LIFE_MS / 1000
_TOGETHER: Final = 64  # records whose use is kept as one number until the ledger has them all


class PackagePurse(Lease):
    """A part of a customer's prepaid packages for one billing item, in the meter's unit.

    `held` is what the bank must not lend to others: at hand, reserved by open calls, and used by
    records that the ledger does not hold yet.
    """

    __slots__ = (
        "_behind",
        "_first",
        "_held",
        "_last",
        "_since",
        "_stale",
        "guessed",
        "guesses",
        "largest",
        "ledger",
        "ledger_s",
        "meter",
        "most_over",
        "passed",
        "reserved",
        "used",
    )

    def __init__(self, name: str, partition: int, meter: str = "") -> None:
        super().__init__(name, partition)
        self.meter = meter
        self.reserved = 0  # by open calls
        self.used = 0  # by records after the checkpoint
        self.guesses = 0  # open calls of which nobody knows how much they will use
        self.guessed = 0  # reserved by those
        self.largest = 0  # what a call used at most
        self.passed = False  # a call used more than its request said it could
        self.most_over = 0  # the bound where it was greatest
        self.ledger: Balance | None = None  # as the bank shows it
        self.ledger_s = float("-inf")  # when it was asked for
        self._behind: deque[tuple[int, int]] = deque()  # the last record of some, what they used
        self._first, self._last, self._since = -_TOGETHER, 0, 0  # of those that come now
        self._held = 0  # as last told
        self._stale = False  # the bank counts something that the ledger does too

    @property
    def held(self) -> int:
        return self.spare + self.reserved + self.used

    @property
    def overshoot_bound(self) -> int:
        """What open calls of unknown size may use beyond what they reserved, if none is larger than any
        before."""
        return max(0, self.guesses * self.largest - self.guessed)

    @property
    def quiet(self) -> bool:
        """Whether there is nothing to tell any more."""
        return not (self.held or self._held)

    def remaining(self, now_ms: int) -> int | None:
        """What the ledger last said is left for new usage, None where it has said nothing."""
        if self.ledger is None:
            return None
        return sum(p.left for p in self.ledger.parts if not p.expires or p.expires > now_ms)

    def take(self, amount: int, least: int, now_s: float) -> int:
        """Reserve for a call; where no more can be had, what there is, at least `least`.

        Returns what was reserved, or LACKING. A `least` of 0 says that `amount` is a guess. Only one
        call at a time may have less than it should: each of them may use more than there is.
        """
        spare = self.spare
        if now_s >= self.valid_until_s:
            return LACKING
        if spare < amount:
            if spare < least or spare <= 0 or self.left > 0 or self.reserved:
                return LACKING
            amount = spare
        self.spare = spare - amount
        self.reserved += amount
        self.taken += amount
        if not least:
            self.guess(amount)
        return amount

    def take_rest(self, now_s: float) -> int:
        """Reserve what there is for a call of unknown size: more did not come in time."""
        if now_s >= self.valid_until_s or self.spare <= 0 or self.reserved:
            return LACKING
        return self.take(self.spare, 0, now_s)

    def grow(self, more: int, now_s: float) -> int:
        """Reserve up to so much more for an open call; how much it was."""
        if now_s >= self.valid_until_s:
            return 0
        amount = min(more, self.spare)
        self.spare -= amount
        self.reserved += amount
        self.taken += more  # so that enough is asked for
        return amount

    def settle(self, reserved: int, actual: int, number: int, largest: int = 0) -> None:
        """A call, or a part of one, or several, that had reserved so much used `actual`.

        `number` is that of the last record, 0 where there is none and nothing was used; `largest` is
        what one of several calls used at most.
        """
        self.reserved -= reserved
        spare = self.spare + reserved - actual
        self.spare = spare if spare > 0 else 0
        if actual <= 0 or not number:
            return
        largest = largest or actual
        if largest > self.largest:
            self.largest = largest
            self.most_over = max(self.most_over, self.overshoot_bound)
        self.used += actual
        if number - self._first < _TOGETHER:
            self._last, self._since = number, self._since + actual
            return
        if self._since:
            self._behind.append((self._last, self._since))
        self._first = self._last = number
        self._since = actual

    def put_back(self, amount: int, *, lent: bool = True) -> None:
        """The call that took so much was not let in."""
        del lent
        self.taken -= amount
        self.settle(amount, 0, 0)

    def checkpoint(self, number: int) -> None:
        """The ledger holds the lane's records of this partition up to `number`."""
        behind = self._behind
        while behind and behind[0][0] <= number:
            self.used -= behind.popleft()[1]
            self._stale = True
        if self._since and self._last <= number:
            self.used -= self._since
            self._since, self._first = 0, -_TOGETHER
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
        held = self.held
        # More than was told: the bank would lend it to others as well.
        changed = self._stale or held > self._held or (held == 0 and self._held > 0)
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

    def guess(self, amount: int) -> None:
        """So much was reserved for a call of which nobody knows how much it will use."""
        self.guesses = guesses = self.guesses + 1
        self.guessed = guessed = self.guessed + amount
        over = guesses * self.largest - guessed
        if over > self.most_over:  # noqa: PLR1730  (cheaper than a call)
            self.most_over = over

    def unguess(self, amount: int) -> None:
        """The call of which that was said is over, or was not let in."""
        self.guesses -= 1
        self.guessed -= amount
