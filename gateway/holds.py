"""What one call holds of its limits, from its admission to its record. Pure."""

from collections.abc import Iterator, Mapping
from typing import Final

from gateway.brakes import Brake, Brakes
from gateway.estimates import Estimate, most_used
from gateway.leases import LACKING
from gateway.purse import PackagePurse, RatePurse
from metering.quantities import Quantities
from metering.usage import Quantity

_ENOUGH: Final = -1  # the answer of `take` where nothing lacks
_NONE: Final[tuple[int, ...]] = ()


class Hold:
    """All or nothing: `take` takes from each limit, or from none of them.

    Then `settle` or `release`, once each; a second time changes nothing.
    """

    __slots__ = ("_amounts", "_guesses", "_needs", "_open", "brakes", "exceeded", "lacks")

    def __init__(self, brakes: Brakes, body: bytes, length: int) -> None:
        """With what came of the request's body; its `length` is below 0 if it is not known."""
        self.brakes = brakes
        self.lacks = _ENOUGH  # which of the brakes had too little, when taken last
        self.exceeded: tuple[Brake, ...] = ()  # limits that only report, at hand was too little of
        self._open = False
        self._needs = self._amounts = needs = brakes.ones[:]
        for at, _, _, mean in brakes.tokens:  # what a mean was too little is made good at the end
            needs[at] = mean.usual
        guesses = _NONE
        for at, package, meter, mean, said in brakes.packages:
            amount = 0 if body.find(said) < 0 else most_used(meter, body, length)
            if amount <= 0 or package.passed:
                guesses = (*guesses, at) if guesses else (at,)
                amount = max(abs(amount), mean.high) if package.passed else -amount or mean.high
            needs[at] = amount
        self._guesses = guesses  # packages of which nobody knows what the call will use

    @property
    def lacking(self) -> tuple[Brake, Estimate]:
        """What had too little, and what it should have had."""
        at = self.lacks
        return self.brakes.each[at], Estimate(self._needs[at], bound=at not in self._guesses)

    def short_of(self, now_s: float) -> Iterator[tuple[Brake, Estimate]]:
        """What had too little when taken last, and what comes after it and has too little too."""
        yield self.lacking
        for at, brake in enumerate(self.brakes.each):
            need = self._needs[at]
            if at > self.lacks and not brake.shadow and brake.purse.lacks(need, now_s):
                yield brake, Estimate(need, bound=at not in self._guesses)

    def take_all(self, now_s: float) -> bool:
        """`take` where all of it is at hand, in one go: calls are what it saves. If not, nothing is
        done."""
        brakes, needs = self.brakes, self._needs
        for purse, need in zip(brakes.purses, needs):  # noqa: B905  (as long as each other)
            if purse.spare < need or now_s >= purse.valid_until_s:
                return False
        if not brakes.distinct:
            return False
        for purse, need in zip(brakes.purses, needs):  # noqa: B905
            purse.spare -= need
            purse.taken += need
        for slots in brakes.slots:
            slots.calls += 1
        guesses = self._guesses
        for at, package, _, _, _ in brakes.packages:
            package.reserved += needs[at]
            if at in guesses:
                package.guess(needs[at])
        self._open = True
        return True

    def take(self, now_s: float, *, rest: bool = False) -> bool:
        """Whether there was enough of everything; limits that only report never lack.

        `rest`: of packages a part will do, where nobody knows how much it must be.
        """
        if self.exceeded:
            self.exceeded = ()
        amounts = self._amounts = self._needs[:]
        for at, purse in enumerate(self.brakes.purses):
            amount = amounts[at]
            got = purse.take(amount, 0 if at in self._guesses else amount, now_s)
            if got < 0:
                got = self._take_otherwise(at, now_s, rest=rest)
                if got < 0:
                    self._put_back(at)
                    self.lacks = at
                    return False
            amounts[at] = got
        self.lacks = _ENOUGH
        self._open = True
        return True

    def _take_otherwise(self, at: int, now_s: float, *, rest: bool) -> int:
        brake = self.brakes.each[at]
        purse = brake.purse
        if isinstance(purse, PackagePurse):
            return purse.take_rest(now_s) if rest and at in self._guesses else LACKING
        if not brake.shadow:
            return LACKING
        self.exceeded += (brake,)
        return purse.take_anyway(self._needs[at])

    def settle(self, used: Mapping[str, Quantity], number: int) -> None:
        """The call ended with record `number`, which holds what it used."""
        if not self._open:
            return
        self._open = False
        for slots in self.brakes.slots:
            slots.settle()
        self._book(used, number, over=True)

    def release(self) -> None:
        """The call ended without a record, and used nothing."""
        self.settle({}, 0)

    def _book(self, used: Mapping[str, Quantity], number: int, *, over: bool) -> None:
        """Of rates of requests it was let in, whatever became of it. `over`: so is the call."""
        brakes, amounts = self.brakes, self._amounts
        for at, rate, meter, mean in brakes.tokens:
            actual = amount_of(used, meter)
            taken = amounts[at]
            if actual != taken:
                if actual:
                    mean.learn(actual)
                rate.settle(taken, actual)
        guesses = self._guesses
        for at, package, meter, mean, _ in brakes.packages:
            actual = amount_of(used, meter)
            reserved = amounts[at]
            if at in guesses:
                if actual:
                    mean.learn(actual)
                package.settle(reserved, actual, number)
                package.guessed -= reserved
                package.guesses -= over
                continue
            if actual > reserved:
                package.passed = True
            package.settle(reserved, actual, number)

    def _put_back(self, before: int) -> None:
        for at, brake in enumerate(self.brakes.each[:before]):
            purse, amount = brake.purse, self._amounts[at]
            purse.put_back(amount, lent=brake not in self.exceeded)
            if isinstance(purse, PackagePurse) and at in self._guesses:
                purse.unguess(amount)

    # Of calls that last

    def covers(self, used: Mapping[str, Quantity], now_s: float, *, streams: bool) -> Brake | None:
        """Reserve what was used beyond what is reserved; the package that lacks it.

        With `streams`, only packages that end a stream in the middle.
        """
        for at, brake in enumerate(self.brakes.each):
            purse = brake.purse
            if isinstance(purse, RatePurse) and brake.kind == "tokens" and not streams:
                more = max(0, amount_of(used, brake.meter) - self._amounts[at])
                self._amounts[at] += more
                purse.settle(0, more)
            elif isinstance(purse, PackagePurse) and (brake.stops or not streams):
                more = amount_of(used, brake.meter) - self._amounts[at]
                if more > 0:
                    grown = purse.grow(more, now_s)
                    self._amounts[at] += grown
                    if at in self._guesses:
                        purse.guessed += grown
                    if self._amounts[at] < amount_of(used, brake.meter):
                        self.lacks = at
                        return brake
        return None

    def settle_part(self, used: Mapping[str, Quantity], number: int) -> None:
        """A part of a session is recorded and it goes on, with nothing reserved but its slots."""
        self._book(used, number, over=False)
        for at, brake in enumerate(self.brakes.each):
            if brake.kind in ("tokens", "package"):
                self._amounts[at] = 0


def amount_of(used: Mapping[str, Quantity], meter: str) -> int:
    """What was used of a meter; 0 where it is not stated."""
    if type(used) is Quantities:
        at = used.kind.index.get(meter)
        return 0 if at is None else used.amounts[at]
    found = used.get(meter)
    return 0 if found is None else found.value
