"""What customers call, hour by hour, decided by dice. Pure."""

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from metering.windows import HOUR_MS
from tallygate.month import goods
from tallygate.month.scenario import Deed, What, basket_of, name_of
from tallygate.month.terms import Terms

GUESTS: Final = ("guest-1", "guest-2")  # a trusted peer vouches for them; they bought nothing
# Around what changes an instance, in ms: the last call before it, and those before gateways hear.
_AROUND: Final = (-2000, -300, 150, 600, 2500, 9000)
_BULK: Final = 2_100_000_000  # above the platform's largest value, in one call


class Call(NamedTuple):
    """One call that reaches a gateway. `quantities` is what the upstream will have served."""

    at_ms: int
    customer: str
    route: str
    gateway: int
    quantities: Mapping[str, int]

    @property
    def vouched(self) -> bool:
        """Whether a trusted peer names the customer: he has no key."""
        return self.customer in GUESTS


class Habits:
    """How often each customer calls, and which routes."""

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        dice = random.Random(f"{terms.seed} habits")
        names = [name_of(number) for number in range(terms.customers)]
        baskets = [basket_of(number, terms) for number in range(terms.customers)]
        self._routes = {
            name: _routes_of(basket) for name, basket in zip(names, baskets, strict=True)
        }
        self._often = {name: dice.choice(terms.active) for name in names}
        self._often[name_of(0)] = 0.9

    def hour(self, begin_ms: int, deeds: Iterable[Deed]) -> list[Call]:
        """The calls of an hour in the order of time; `deeds` are those of the hour."""
        dice = random.Random(f"{self._terms.seed} calls {begin_ms}")
        made = [call for name in self._often for call in self._usual(dice, name, begin_ms)]
        for deed in deeds:
            made += self._around(dice, deed)
        if self._terms.features.suspense:
            made += [
                self._call(dice, _within(dice, begin_ms), guest, goods.CHAT) for guest in GUESTS
            ]
        return sorted(made, key=lambda call: (call.at_ms, call.customer))

    def _usual(self, dice: random.Random, name: str, begin_ms: int) -> Iterator[Call]:
        if dice.random() < self._often[name]:
            for _ in range(dice.randrange(1, 9)):
                yield self._call(
                    dice, _within(dice, begin_ms), name, dice.choice(self._routes[name])
                )

    def _around(self, dice: random.Random, deed: Deed) -> Iterator[Call]:
        if deed.what is not What.BUY or dice.random() < 0.3:
            for distance in _AROUND:
                route = dice.choice(self._routes[deed.customer])
                yield self._call(dice, deed.at_ms + distance, deed.customer, route)

    def _call(self, dice: random.Random, at_ms: int, name: str, route: str) -> Call:
        bulk = name == name_of(0) and dice.random() < 0.02
        quantities = _images(dice, bulk=bulk) if route == goods.IMAGES else _tokens(dice)
        return Call(at_ms, name, route, dice.randrange(self._terms.gateways), quantities)


def _routes_of(basket: Sequence[str]) -> list[str]:
    images = {"PAGES", "SCANS"} & set(basket)
    chat = set(basket) - images
    return [route for route, any_of in ((goods.CHAT, chat), (goods.IMAGES, images)) if any_of]


def _within(dice: random.Random, begin_ms: int) -> int:
    """Mostly anywhere in the hour, sometimes within a second of its end."""
    if dice.random() < 0.02:
        return begin_ms + HOUR_MS - dice.randrange(1, 1000)
    return begin_ms + dice.randrange(HOUR_MS)


def _tokens(dice: random.Random) -> dict[str, int]:
    size = dice.choice((10, 100, 1000, 10_000))
    return {"requests": 1, "tokens_in": dice.randrange(1, size), "tokens_out": dice.randrange(size)}


def _images(dice: random.Random, *, bulk: bool) -> dict[str, int]:
    return {"requests": 1, "images": _BULK if bulk else dice.randrange(1, 9)}
