"""What a worker holds of a limit, whatever its kind: how fast it is used, how long it may be. Pure.

Seconds are of a clock that never goes back. A lease counts from when the message that was confirmed
was *sent*, so it ends here before it ends in Redis.
"""

from typing import Final, NamedTuple

from metering.lending import Lent

LACKING: Final = -1  # answered by `take`: nothing was taken
LEAST_PAUSE_S: Final = 0.05  # between two asks of which the first got nothing

_IDLE_S: Final = 2.0  # without a call for so long, what is at hand goes back
_MEASURE_MS: Final = 50  # pace is measured over no less
_LONGEST_MS: Final = 10_000
_MOST_PAUSE_S: Final = 1.0


class Needed(NamedTuple):
    """What waiting calls lack, and the smallest part of it that helps one of them."""

    amount: int = 0
    least: int = 1


NOTHING: Final = Needed()


class Lease:
    """What all kinds have in common. `name` is the bank's for it."""

    __slots__ = (
        "__weakref__",
        "_measured_s",
        "_pace",
        "_sent_s",
        "active",
        "in_vain_until_s",
        "left",
        "local",
        "name",
        "partition",
        "refused_until_s",
        "retry_s",
        "settling",
        "spare",
        "taken",
        "told_s",
        "used_s",
        "valid_until_s",
        "wanted",
    )

    def __init__(self, name: str, partition: int) -> None:
        self.name = name
        self.partition = partition
        self.spare = 0  # at hand for new calls
        self.left = 0  # what nobody held, as last told
        self.valid_until_s = 0.0
        self.told_s = 0.0  # when the last answer came; 0 never
        self.refused_until_s = 0.0  # the bank had nothing; asking before is of no use
        self.retry_s = 0.0  # when it may have, as far as anybody can say
        self.in_vain_until_s = 0.0  # a call waited for it and got nothing
        self.wanted = False  # others lack what we may have to spare
        self.settling = False  # the bank waits for who holds leases to say so
        self.local = False  # the bank is away and the policy is to go on
        self.active = False  # whoever asks the bank has it on the list
        self.taken = 0  # since the pace was measured
        self._pace = 0  # units a second
        self._measured_s = 0.0
        self._sent_s = 0.0  # when what is confirmed was sent; 0 never
        self.used_s = 0.0  # when a call last took some, or lacked it

    def measure(self, now_s: float) -> int:
        """Units a second, of late."""
        elapsed_ms = int((now_s - self._measured_s) * 1000)
        if elapsed_ms >= _MEASURE_MS:
            if self.taken:
                self.used_s = now_s
            recent = self.taken * 1000 // min(elapsed_ms, _LONGEST_MS)
            self._pace = (self._pace + recent) // 2
            self.taken, self._measured_s = 0, now_s
        return self._pace

    def idle(self, now_s: float) -> bool:
        """Whether no call took any for a while."""
        return not self.taken and now_s - self.used_s > _IDLE_S

    def hear(self, lent: Lent, sent_s: float, now_s: float, *, wanted: int, life_s: float) -> bool:
        """Take over an answer; False where it confirms nothing. `wanted` is what was asked for.

        What is at hand may be used for `life_s` from when the ask was sent.
        """
        if lent.state in ("late", "epoch"):
            return False
        self.told_s = now_s
        self.local = False
        self.settling = lent.state != "ok"
        self._sent_s = sent_s
        self.valid_until_s = sent_s + life_s
        self.wanted = lent.wanted
        self.left = lent.left
        self.spare += lent.granted
        if wanted and not lent.granted:
            pause_s = max(lent.retry_ms / 1000, LEAST_PAUSE_S)
            self.retry_s = now_s + pause_s
            self.refused_until_s = now_s + min(pause_s, _MOST_PAUSE_S)
        return True

    def lacks(self, amount: int, now_s: float) -> bool:
        """Whether so much is not at hand."""
        return not self.local and (self.spare < amount or now_s >= self.valid_until_s)

    def lost(self) -> None:
        """Nobody knows whether the last ask arrived."""
