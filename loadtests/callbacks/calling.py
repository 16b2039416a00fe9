"""Real callbacks at a steady rate, as KooGallery would send them: purchases, freezes, renewals, queries.

Open loop: a time counts from the moment the call was due, so that a slow reply cannot hide others.
"""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import anyio

from loadtests.callbacks.line import Line
from tallygate.simulator.callbacks import new_nonce
from tallygate.simulator.canonical import canonical
from tallygate.simulator.checks import SUCCESS
from tallygate.simulator.clock import WallClock
from tallygate.simulator.tampering import signed_callback
from tallygate.simulator.times import DAY_MS, format_compact_time
from tallygate.simulator.v1_calls import signed_call


@dataclass
class Called:
    """Seconds of each reply, and the codes of those that were no success."""

    seconds: list[float] = field(default_factory=list)
    wrong: dict[str, int] = field(default_factory=dict)

    def hear(self, reply: bytes, due: float) -> dict[str, Any]:
        """What it says; its time counts from `due`."""
        self.seconds.append(time.perf_counter() - due)
        said: dict[str, Any] = json.loads(reply or b"{}")
        code = said.get("resultCode", "none")
        if code != SUCCESS:
            self.wrong[code] = self.wrong.get(code, 0) + 1
        return said


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
        self._line = Line(self.url)
        try:
            await self._buy("first", time.perf_counter())
            self.called = Called()
            began = time.perf_counter()
            async with anyio.create_task_group() as group:
                for number in range(int(self.rate * seconds)):
                    due = began + number / self.rate
                    await anyio.sleep(max(0.0, due - time.perf_counter()))
                    group.start_soon(self._call, number, due)
        finally:
            self._line.close()

    async def _call(self, number: int, due: float) -> None:
        """Every fifth call buys, and of the others two freeze or unfreeze, one renews, one asks."""
        if number % 5 == 0:
            await self._buy(f"order-{number}", due)
            return
        instance = self._bought[number % len(self._bought)]
        content = canonical({"instanceId": instance, **_BODIES[number % 5](number)}).encode()
        sent = signed_callback(self.key, content, new_nonce(), WallClock().now_ms())
        self.called.hear(await self._line.send(sent), due)

    async def _buy(self, order_id: str, due: float) -> None:
        call = {
            "activity": "newInstance",
            "customerId": f"buyer-{order_id}",
            "businessId": f"business-{order_id}",
            "orderId": order_id,
            "productId": self.product_id,
            "chargingMode": "0",
        }
        sent = signed_call(self.key, call, WallClock().now_ms())
        said = self.called.hear(await self._line.send(sent), due)
        if made := said.get("instanceId"):
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
