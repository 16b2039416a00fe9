"""What the customers of the month do at the marketplace, decided by dice. Pure.

Each customer has dice of its own, so that one more customer changes nobody else's month.
"""

import random
from collections.abc import Sequence
from enum import StrEnum
from typing import Final, NamedTuple

from metering.catalogue import Product
from metering.windows import HOUR_MS
from tallygate.month import goods
from tallygate.month.terms import DAY_MS, START_MS, Terms

_MINUTE_MS: Final = 60_000


class What(StrEnum):
    """What can be done with an instance, in the words of the simulator's handles."""

    BUY = "buy"
    FREEZE = "freeze"
    UNFREEZE = "unfreeze"
    RELEASE = "release"
    UPGRADE = "upgrade"


class Deed(NamedTuple):
    """One thing a customer does. `goods` are bought, or name what was: the latest of each product.

    `to` is the product of an upgrade, `expires_ms` the end of a package, 0 for none.
    """

    at_ms: int
    customer: str
    what: What
    goods: tuple[str, ...]
    to: str = ""
    expires_ms: int = 0


def name_of(number: int) -> str:
    """A customer's id."""
    return f"domain-{number:04d}"


def basket_of(number: int, terms: Terms) -> tuple[str, ...]:
    """What the customer begins with. The first one takes it all."""
    if number == 0:
        return ("CALLS", "IN", "OUT", "PAGES")
    return _dice(terms, "basket", number).choice(goods.baskets(terms.features))


def deeds(terms: Terms) -> list[Deed]:
    """Everything that customers do, in the order of time."""
    sold = goods.products(terms.features)
    return sorted(deed for n in range(terms.customers) for deed in _Story(n, terms, sold).deeds())


def _dice(terms: Terms, what: str, number: int) -> random.Random:
    return random.Random(f"{terms.seed} {what} {number}")


class _Story:
    """One customer's month."""

    def __init__(self, number: int, terms: Terms, sold: Sequence[Product]) -> None:
        self._name = name_of(number)
        self._terms = terms
        self._sold = sold
        self._dice = _dice(terms, "deeds", number)
        self._basket = basket_of(number, terms)
        early = number == 0 or self._dice.random() < 0.7
        latest = 6 * HOUR_MS if early else terms.days * DAY_MS * 2 // 3
        self._arrival = START_MS + self._dice.randrange(_MINUTE_MS, latest)

    def deeds(self) -> list[Deed]:
        made = [self._deed(self._arrival, What.BUY, self._basket)]
        made += self._packages(goods.ORDINARY, 0.5)
        made += self._packages(goods.STOPPING, 0.6)
        if self._dice.random() < 0.25:
            made += self._frozen()
        if "OUT" in self._basket and self._dice.random() < 0.2:
            made.append(self._deed(self._later(), What.UPGRADE, ("OUT",), to="OUT-PLUS"))
        if self._dice.random() < 0.35:
            made += self._released()
        return made

    def _packages(self, offered: Sequence[str], chance: float) -> list[Deed]:
        """Bought now and then, by whoever has what they are for; some are given back."""
        fitting = [p for p in offered if goods.covers(self._basket, self._sold, p)]
        made: list[Deed] = []
        while fitting and len(made) < 6 and self._dice.random() < chance:
            package, at_ms = self._dice.choice(fitting), self._later()
            lasts = self._dice.choice((0, 6, 24, 24 * 7)) * HOUR_MS
            expires = (at_ms + lasts) // 1000 * 1000 if lasts else 0
            made.append(self._deed(at_ms, What.BUY, (package,), expires_ms=expires))
            if self._dice.random() < 0.2:
                made.append(self._deed(self._later(at_ms), What.RELEASE, (package,)))
        return made

    def _frozen(self) -> list[Deed]:
        """He is in arrears: everything he began with, or one thing of it, for some hours."""
        whole = self._dice.random() < 0.5
        what = self._basket if whole else (self._dice.choice(self._basket),)
        begin = self._later()
        end = begin + self._dice.randrange(10 * _MINUTE_MS, 20 * HOUR_MS)
        return [self._deed(begin, What.FREEZE, what), self._deed(end, What.UNFREEZE, what)]

    def _released(self) -> list[Deed]:
        """He leaves, or gives one thing up; some come back for it."""
        whole = self._dice.random() < 0.4
        what = self._basket if whole else (self._dice.choice(self._basket),)
        end = self._later()
        made = [self._deed(end, What.RELEASE, what)]
        if self._dice.random() < 0.5:
            again = end + self._dice.randrange(_MINUTE_MS, 12 * HOUR_MS)
            made.append(self._deed(again, What.BUY, what))
        return made

    def _later(self, after_ms: int | None = None) -> int:
        """Some time after his arrival, half an hour before the end at the latest."""
        since = (self._arrival if after_ms is None else after_ms) + 5 * _MINUTE_MS
        return self._dice.randrange(since, max(self._terms.end_ms - 30 * _MINUTE_MS, since + 1))

    def _deed(self, at_ms: int, what: What, wanted: tuple[str, ...], **more: object) -> Deed:
        return Deed(min(at_ms, self._terms.end_ms - 1), self._name, what, wanted, **more)  # type: ignore[arg-type]  # as its fields
