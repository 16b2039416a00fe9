"""Reservations of workers that are killed: all that was not used comes back, and nothing twice."""

import os
import random
import signal
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Final, NamedTuple

import anyio
import httpx

from loadtests.brakes.customers import Account, call_for
from loadtests.brakes.shop import Shop, customer_id, key_of
from metering.lending import PACKAGE_LIFE_MS, SETTLE_MS

_ADOPTION_S: Final = 8.0
_CLIENTS: Final = 40
_PAUSE_S: Final = 0.2  # of a client between calls, so that there is time to kill


class Crashed(NamedTuple):
    """Tokens. `rest` is what could be used afterwards, in one call, and `more` whether still more."""

    quota: int
    used: int
    rest: int
    status_of_rest: str
    status_of_more: str
    kills: int
    ended: Counter[str]

    def line(self) -> str:
        """What came of it."""
        ends = ", ".join(f"{end} {n}" for end, n in sorted(self.ended.items()))
        return (
            f"killed {self.kills} times: {self.used} of {self.quota} used; the rest of {self.rest}: "
            f"{self.status_of_rest}, one more: {self.status_of_more}; {ends}"
        )

    def problems(self) -> list[str]:
        """What is not as it should be, in words."""
        found = []
        if self.status_of_rest != "200":
            found.append(f"the rest of {self.rest} is not back: {self.status_of_rest}")
        if self.status_of_more != "402":
            found.append(f"there is more than was unused: {self.status_of_more}")
        if not self.kills:
            found.append("nothing was killed")
        return found


async def run_once(shop: Shop, number: int, quota: int, calls: int, pause_s: float) -> Crashed:
    """Make the calls while workers are killed, one every `pause_s` on the average."""
    account, kills = Account(key_of(number)), Counter[str]()
    most = max(1, quota // calls)  # so that much is left
    async with anyio.create_task_group() as killing:
        killing.start_soon(_kill, shop, kills, pause_s, random.Random(number))
        async with anyio.create_task_group() as calling:
            for n in range(_CLIENTS):
                calling.start_soon(_customer, shop, account, n, calls // _CLIENTS, most)
        killing.cancel_scope.cancel()
    async with httpx.AsyncClient(trust_env=False, timeout=10) as http:
        await anyio.sleep((PACKAGE_LIFE_MS + SETTLE_MS) / 1000 + _ADOPTION_S)
        used = await shop.agrees(http, customer_id(number), account.tokens)
        rest = quota - used
        status_of_rest = await _one(shop, number, rest)
        await shop.agrees(http, customer_id(number), quota)
        status_of_more = await _one(shop, number, 1)
    return Crashed(quota, used, rest, status_of_rest, status_of_more, kills["kills"], account.ended)


async def _customer(shop: Shop, account: Account, seed: int, calls: int, most: int) -> None:
    for n in range(calls):
        one = Account(account.key)
        await call_for(
            shop.address, one, lambda dice: dice.randint(1, most), seed * 1009 + n, once()
        )
        account.add(one)
        await anyio.sleep(_PAUSE_S)


def once() -> Callable[[], bool]:
    """True from the second time on."""
    asked = iter([False])
    return lambda: next(asked, True)


async def _one(shop: Shop, number: int, tokens: int) -> str:
    """How a call ends that uses exactly so many, tried until it is served or the package is used up."""
    account = Account(key_of(number))
    await call_for(shop.address, account, lambda _: tokens, 0, lambda: account.ended["200"] > 0)
    return max(account.ended, key=lambda end: end in ("200", "402"))


async def _kill(shop: Shop, kills: Counter[str], pause_s: float, dice: random.Random) -> None:
    while True:
        await anyio.sleep(pause_s * 2 * dice.random())
        with suppress(ProcessLookupError, IndexError):
            os.kill(dice.choice(shop.workers())["pid"], signal.SIGKILL)
            kills["kills"] += 1
