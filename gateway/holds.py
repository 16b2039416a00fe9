"""What one call holds of its limits, from its admission to its record. Pure."""

from collections.abc import Iterator, Mapping
from typing import Final

from gateway.brakes import Brake, Brakes
from gateway.estimates import Asked, Estimate, Means, estimate
from gateway.leases import LACKING
from gateway.purse import PackagePurse, RatePurse, SlotsPurse
from metering.quantities import Quantities
from metering.usage import Quantity

_ONE: Final = Estimate(1, bound=True)
_ENOUGH: Final = -1  # the answer of `take` where nothing lacks


class Hold:
    """All or nothing: `take` takes from each limit, or from none of them.

    Then `settle` or `release`, once each; a second time changes nothing.
    """

    __slots__ = ("_amounts", "_means", "_open", "_route", "brakes", "exceeded", "lacks", "needs")

    def __init__(self, brakes: Brakes, route: str, asked: Asked, means: Means) -> None:
        self.brakes = brakes
        self.lacks = _ENOUGH  # which of the brakes had too little, when taken last
        self.exceeded: tuple[Brake, ...] = ()  # limits that only report, at hand was too little of
        self._route = route
        self._means = means
        self._open = False
        each = brakes.each
        self.needs = [_ONE] * len(each)
        self._amounts = [0] * len(each)
        for at in brakes.estimated:
            brake = each[at]
            if brake.kind == "package":
                self.needs[at] = estimate(brake.meter, route, asked, means)
            else:  # what a mean was too little is made good when the call is over
                self.needs[at] = Estimate(means.of(route, brake.meter), bound=False)

    @property
    def lacking(self) -> tuple[Brake, Estimate]:
        """What had too little, and what it should have had."""
        return self.brakes.each[self.lacks], self.needs[self.lacks]

    def short_of(self, now_s: float) -> Iterator[tuple[Brake, Estimate]]:
        """What had too little when taken last, and what comes after it and has too little too."""
        yield self.lacking
        after = self.lacks + 1
        for brake, need in zip(self.brakes.each[after:], self.needs[after:], strict=True):
            if not brake.shadow and brake.purse.lacks(need.amount, now_s):
                yield brake, need

    def take(self, now_s: float, *, rest: bool = False) -> bool:
        """Whether there was enough of everything; limits that only report never lack.

        `rest`: of packages a part will do, where a mean is asked for.
        """
        amounts, at = self._amounts, 0
        if self.exceeded:
            self.exceeded = ()
        for purse, need in zip(self.brakes.purses, self.needs, strict=True):
            amount, bound = need
            got = purse.take(amount, amount if bound else 1, now_s)
            if got < 0:
                got = self._take_otherwise(at, now_s, rest=rest)
                if got < 0:
                    self._put_back(at)
                    self.lacks = at
                    return False
            amounts[at] = got
            at += 1  # noqa: SIM113  (cheaper than to enumerate a zip)
        self.lacks = _ENOUGH
        self._open = True
        return True

    def _take_otherwise(self, at: int, now_s: float, *, rest: bool) -> int:
        brake, need = self.brakes.each[at], self.needs[at]
        purse = brake.purse
        if isinstance(purse, PackagePurse):
            return purse.take_rest(1, now_s) if rest and not need.bound else LACKING
        if not brake.shadow:
            return LACKING
        self.exceeded += (brake,)
        return purse.take_anyway(need.amount)

    def settle(self, used: Mapping[str, Quantity], number: int) -> None:
        """The call ended with record `number`, which holds what it used."""
        if not self._open:
            return
        self._open = False
        for purse in self.brakes.purses:
            if isinstance(purse, SlotsPurse):
                purse.settle()
            else:
                purse.calls -= 1
        for at in self.brakes.estimated:  # of the others it was let in, whatever became of it
            self._book(at, used, number)

    def release(self) -> None:
        """The call ended without a record, and used nothing."""
        self.settle({}, 0)

    def _book(self, at: int, used: Mapping[str, Quantity], number: int) -> None:
        brake, taken = self.brakes.each[at], self._amounts[at]
        purse, actual = brake.purse, amount_of(used, brake.meter)
        if actual and not self.needs[at].bound:
            self._means.learn(self._route, brake.meter, actual)
        if isinstance(purse, PackagePurse):
            purse.settle(taken, actual, number)
        elif isinstance(purse, RatePurse):
            purse.settle(taken, actual)

    def _put_back(self, before: int) -> None:
        for brake, amount in zip(self.brakes.each[:before], self._amounts, strict=False):
            brake.purse.put_back(amount, lent=brake not in self.exceeded)

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
                    self._amounts[at] += purse.grow(more, now_s)
                    if self._amounts[at] < amount_of(used, brake.meter):
                        self.lacks = at
                        return brake
        return None

    def settle_part(self, used: Mapping[str, Quantity], number: int) -> None:
        """A part of a session is recorded and it goes on, with nothing reserved but its slots."""
        for at in self.brakes.estimated:
            self._book(at, used, number)
            self._amounts[at] = 0


def amount_of(used: Mapping[str, Quantity], meter: str) -> int:
    """What was used of a meter; 0 where it is not stated."""
    if type(used) is Quantities:
        at = used.kind.index.get(meter)
        return 0 if at is None else used.amounts[at]
    found = used.get(meter)
    return 0 if found is None else found.value
