"""A package that stops, under more customers' hands than it has room for: how far it is overshot."""

import asyncio
import random
from collections import Counter
from typing import Final, NamedTuple

import httpx

from loadtests.brakes.customers import Account, Asks, use_up
from loadtests.brakes.origin import MOST_TOKENS
from loadtests.brakes.shop import METER, Shop, customer_id, key_of

BOUND: Final = "gateway_package_overshoot_bound_most"


class Run(NamedTuple):
    """One package used up. Tokens; `bound` is the most that the workers said they may overshoot by."""

    quota: int
    used: int
    said: int  # by the replies
    bound: int
    ended: Counter[str]
    most_open: int

    @property
    def overshoot(self) -> int:
        """Beyond the package; 0 where something of it is left."""
        return max(0, self.used - self.quota)

    def problems(self, *, exact: bool) -> list[str]:
        """What is not as it should be, in words."""
        found = []
        allowed = 0 if exact else self.bound
        if self.overshoot > allowed:
            found.append(f"overshoot {self.overshoot} is more than {allowed}")
        if self.used != self.said:
            found.append(f"{self.used} tokens are counted and {self.said} were answered")
        if self.used < self.quota - MOST_TOKENS:
            found.append(f"only {self.used} of {self.quota} could be used")
        others = self.ended - Counter({"200": self.ended["200"], "402": self.ended["402"]})
        if strange := {end: n for end, n in others.items() if end not in ("429", "503")}:
            found.append(f"calls ended otherwise: {strange}")
        return found


def unknown(_: random.Random) -> int:
    """Says nothing."""
    return 0


def exactly(dice: random.Random) -> int:
    """Says how much it uses."""
    return dice.randint(1, MOST_TOKENS)


async def run_once(shop: Shop, number: int, quota: int, clients: int, asks: Asks) -> Run:
    """Use up the package of the customer of this number."""
    account = Account(key_of(number))
    async with httpx.AsyncClient(trust_env=False, timeout=10) as http:
        async with asyncio.TaskGroup() as group:
            for n in range(clients):
                group.create_task(use_up(shop.address, account, asks, number * 1009 + n))
        used = await shop.agrees(http, customer_id(number), account.tokens)
        bound = int(await shop.metric(http, BOUND, f'"{METER}"'))
    return Run(quota, used, account.tokens, bound, account.ended, account.most_open)
