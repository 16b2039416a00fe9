"""Calls let in together where plenty is at hand: their limits are looked at once for all of them. Pure.

What a Hold does for one call a Batch does for SIZE, while MARGIN times as much is there, so that
nobody lacks what it sets aside; whenever the bank is told something (Desk.close_batches), what no
call took of it goes back and what its calls used is booked. Calls that say how much they may use,
limits of concurrent calls, and streams that end in the middle have a Hold each.
"""

from collections.abc import Mapping
from typing import Final

from gateway.brakes import Brakes
from gateway.holds import amount_of
from gateway.purse import PackagePurse
from metering.usage import Quantity

SIZE: Final = 32
_MARGIN: Final = 4
_LIFE_S: Final = 0.1  # longer than a turn of whoever tells the bank
_LEARN: Final = 8  # a mean is told of one call in so many


class Batch:
    """Of one caller on one route. Each call ends with one `settle` or one `release`."""

    __slots__ = (
        "_closed",
        "_ended",
        "_largest",
        "_last",
        "_meter",
        "_needs",
        "_used",
        "brakes",
        "left",
        "until_s",
    )

    def __init__(self, brakes: Brakes, needs: list[int], now_s: float) -> None:
        """`needs` is what each call takes, by brake; `batch_of` makes one if it may be."""
        self.brakes = brakes
        self.left = SIZE
        self.until_s = now_s + _LIFE_S
        self._needs = needs
        self._meter = brakes.meter
        self._closed = False
        self._ended = self._used = self._largest = self._last = 0
        for purse, need in zip(brakes.purses, needs, strict=True):
            self.until_s = min(self.until_s, purse.valid_until_s)
            purse.spare -= SIZE * need
            purse.taken += SIZE * need
            if isinstance(purse, PackagePurse):
                purse.reserved += SIZE * need
                purse.guesses += SIZE
                purse.guessed += SIZE * need

    def settle(self, used: Mapping[str, Quantity], number: int) -> None:
        """A call ended with record `number`, which holds what it used."""
        actual = amount_of(used, self._meter)
        if self._closed:
            self._book(1, actual, number, actual)
            return
        self._ended = ended = self._ended + 1
        self._used += actual
        self._last = number
        if actual > self._largest:  # noqa: PLR1730  (cheaper than a call)
            self._largest = actual
        if not ended % _LEARN and actual:
            self._learn(actual)

    def release(self) -> None:
        """A call ended without a record, and used nothing. Of rates of requests it was let in."""
        if self._closed:
            self._book(1, 0, 0, 0)
        else:
            self._ended += 1

    def close(self) -> None:
        """No further call is let in; those that are open settle by themselves."""
        if self._closed:
            return
        self._closed = True
        left, self.left = self.left, 0
        if left > SIZE // 2:
            self.brakes.patience = SIZE
        if left:
            self._put_back(left)
        if self._ended:
            self._book(self._ended, self._used, self._last, self._largest)

    def _put_back(self, calls: int) -> None:
        for purse, need in zip(self.brakes.purses, self._needs, strict=True):
            purse.put_back(calls * need)
            if isinstance(purse, PackagePurse):
                purse.guesses -= calls
                purse.guessed -= calls * need

    def _book(self, calls: int, used: int, number: int, largest: int) -> None:
        for at, rate, _, _ in self.brakes.tokens:
            rate.settle(calls * self._needs[at], used)
        for at, package, _, _, _ in self.brakes.packages:
            reserved = calls * self._needs[at]
            package.settle(reserved, used, number, largest)
            package.guesses -= calls
            package.guessed -= reserved

    def _learn(self, actual: int) -> None:
        for _, _, _, mean in self.brakes.tokens:
            mean.learn(actual)
        for _, _, _, mean, _ in self.brakes.packages:
            mean.learn(actual)


def batch_of(brakes: Brakes, now_s: float) -> Batch | None:
    """One for the next calls, None where they need a Hold each."""
    brakes.patience = SIZE
    if not brakes.alike:
        return None
    needs = _needs(brakes)
    for purse, need in zip(brakes.purses, needs, strict=True):
        if purse.spare < SIZE * _MARGIN * need or now_s >= purse.valid_until_s:
            return None
    brakes.patience = 0
    return Batch(brakes, needs, now_s)


def _needs(brakes: Brakes) -> list[int]:
    """Of packages as much as any call used, so that no call passes what is set aside for it."""
    needs = brakes.ones[:]
    for at, _, _, mean in brakes.tokens:
        needs[at] = mean.usual
    for at, package, _, mean, _ in brakes.packages:
        needs[at] = max(mean.high, package.largest)
    return needs
