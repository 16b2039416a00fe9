"""Real callbacks at a steady rate, as KooGallery would send them: purchases, freezes, renewals, queries.

Open loop: a time counts from the moment the call was due, so that a slow reply cannot hide others.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import anyio

from tallygate.simulator.callbacks import Callbacks
from tallygate.simulator.canonical import canonical
from tallygate.simulator.checks import SUCCESS, Reply
from tallygate.simulator.clock import WallClock
from tallygate.simulator.conversation import instance_id_of
from tallygate.simulator.times import DAY_MS, format_compact_time

_TIMEOUT_S: Final = 20.0


@dataclass
class Called:
    """Seconds of each reply, and the codes of those that were no success."""

    seconds: list[float] = field(default_factory=list)
    wrong: dict[str, int] = field(default_factory=dict)

    def hear(self, reply: Reply, due: float) -> None:
        self.seconds.append(time.perf_counter() - due)
        code = reply.result_code or f"HTTP {reply.status} {reply.failure}"
        if code != SUCCESS:
            self.wrong[code] = self.wrong.get(code, 0) + 1


@dataclass
class Caller:
    """A marketplace with one seller. `product_id` is bought again and again, through V1.0."""

    url: str
    key: str
    product_id: str
    rate: float
    called: Called = field(default_factory=Called)
    _bought: list[str] = field(default_factory=list)

    async def run(self, seconds: float) -> None:
        """Until every call was answered."""
        callbacks = Callbacks(self.key, WallClock(), _TIMEOUT_S)
        try:
            await self._buy(callbacks, "first", time.perf_counter())
            self.called = Called()
            began = time.perf_counter()
            async with anyio.create_task_group() as group:
                for number in range(int(self.rate * seconds)):
                    due = began + number / self.rate
                    await anyio.sleep(max(0.0, due - time.perf_counter()))
                    group.start_soon(self._call, callbacks, number, due)
        finally:
            await callbacks.close()

    async def _call(self, callbacks: Callbacks, number: int, due: float) -> None:
        """Every fifth call buys, and of the others two freeze or unfreeze, one renews, one asks."""
        if number % 5 == 0:
            await self._buy(callbacks, f"order-{number}", due)
            return
        instance = self._bought[number % len(self._bought)]
        body = {"instanceId": instance, **_BODIES[number % 5](number)}
        sent = callbacks.sign(canonical(body).encode())
        self.called.hear(await callbacks.deliver(self.url, sent), due)

    async def _buy(self, callbacks: Callbacks, order_id: str, due: float) -> None:
        call = {
            "activity": "newInstance",
            "customerId": f"buyer-{order_id}",
            "businessId": f"business-{order_id}",
            "orderId": order_id,
            "productId": self.product_id,
            "chargingMode": "0",
        }
        reply = await callbacks.deliver(self.url, callbacks.sign_v1(call))
        self.called.hear(reply, due)
        if made := instance_id_of(reply):
            self._bought.append(made)


def _frozen(_: int) -> dict[str, Any]:
    return {"activity": "updateInstanceStatus", "status": "FREEZE"}


def _unfrozen(_: int) -> dict[str, Any]:
    return {"activity": "updateInstanceStatus", "status": "UNFREEZE"}


def _renewed(number: int) -> dict[str, Any]:
    expires = format_compact_time(WallClock().now_ms() + (365 + number) * DAY_MS)
    order = {"orderId": f"renewal-{number}", "orderLineId": f"renewal-{number}-000001"}
    return {"activity": "refreshInstance", "scene": "RENEWAL", "expireTime": expires, **order}


def _asked(_: int) -> dict[str, Any]:
    return {"activity": "queryInstance"}


_BODIES: Final = {1: _frozen, 2: _unfrozen, 3: _renewed, 4: _asked}


def figures(seconds: list[float]) -> Iterator[str]:
    """p50, p99 and the slowest, in milliseconds."""
    ordered = sorted(seconds)
    for name, share in (("p50", 0.5), ("p99", 0.99), ("slowest", 1.0)):
        at = min(len(ordered) - 1, int(len(ordered) * share))
        yield f"{name} {ordered[at] * 1000:.1f} ms"
