"""Reservations of workers that are killed: all that was not used comes back, and nothing twice."""

import os
import random
import signal
from collections import Counter
from contextlib import suppress
from typing import Final, NamedTuple

import anyio
import httpx

from loadtests.brakes.customers import Account, call_for
from loadtests.brakes.overshoot import exactly
from loadtests.brakes.shop import Shop, customer_id, key_of
from metering.lending import PACKAGE_LIFE_MS, SETTLE_MS

_ADOPTION_S: Final = 8.0
_CLIENTS: Final = 40


class Crashed(NamedTuple):
    """Tokens. `rest` is what could be used afterwards, in one call, and `more` whether still more."""

    quota: int
    used: int
    rest: int
    status_of_rest: str
    status_of_more: str
    kills: int
    ended: Counter[str]

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
    account, left, kills = Account(key_of(number)), Counter(left=calls), Counter[str]()
    async with anyio.create_task_group() as killing:
        killing.start_soon(_kill, shop, kills, pause_s, random.Random(number))
        async with anyio.create_task_group() as calling:
            for n in range(_CLIENTS):
                calling.start_soon(call_for, shop.address, account, exactly, n, left)
        killing.cancel_scope.cancel()
    async with httpx.AsyncClient(trust_env=False, timeout=10) as http:
        await anyio.sleep((PACKAGE_LIFE_MS + SETTLE_MS) / 1000 + _ADOPTION_S)
        used = await shop.agrees(http, customer_id(number), account.tokens)
        rest = quota - used
        status_of_rest = await _one(shop, number, rest)
        await shop.agrees(http, customer_id(number), quota)
        status_of_more = await _one(shop, number, 1)
    return Crashed(quota, used, rest, status_of_rest, status_of_more, kills["kills"], account.ended)


async def _one(shop: Shop, number: int, tokens: int) -> str:
    """How a call ends that uses exactly so many, tried until it is served or the package is used up."""
    account = Account(key_of(number))
    await call_for(shop.address, account, lambda _: tokens, 0, Counter(left=1))
    (status,) = account.ended
    return status


async def _kill(shop: Shop, kills: Counter[str], pause_s: float, dice: random.Random) -> None:
    while True:
        await anyio.sleep(pause_s * 2 * dice.random())
        with suppress(ProcessLookupError, IndexError):
            os.kill(dice.choice(shop.workers())["pid"], signal.SIGKILL)
            kills["kills"] += 1
