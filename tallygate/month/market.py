"""The marketplace of the month: the simulator in this process, with signed callbacks to ours.

What a customer orders is tried until it is done, as the marketplace itself does; what concerns one
customer happens in its order.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import httpx

from metering.catalogue import Product
from metering.clock import Clock
from tallygate.month.scenario import Deed, What
from tallygate.month.terms import Features
from tallygate.simulator import models
from tallygate.simulator.conversation import Answered
from tallygate.simulator.findings import Finding
from tallygate.simulator.in_process import Simulator
from tallygate.simulator.models import Cycle, Item, Kind, Order
from tallygate.simulator.settings import SimulatorSettings
from tallygate.simulator.stored import StoredRecord

ACCESS_KEY: Final = "month-access-key"
AK: Final = "month-ak"
SK: Final = "month-sk"
COLLECT_AT_MINUTE: Final = 15  # spec §7.2, rule 5
_DONE: Final = "000000"
_INTERNAL: Final = "000005"
_CHANGE: Final = "RENEWAL_CHANGE"
_VALIDATION_S: Final = 45  # in the background, some time after records came


class Market:
    """The simulator, and what the customers of the month have there."""

    def __init__(
        self, clock: Clock, production: httpx.AsyncBaseTransport, features: Features
    ) -> None:
        """`production` leads to the control plane's public application."""
        settings = SimulatorSettings(
            ACCESS_KEY,
            AK,
            SK,
            collect_at_minute=COLLECT_AT_MINUTE,
            validation_delay=_VALIDATION_S,
            create_attempts=1,
            poll_attempts=2,
            poll_interval=0,
        )
        self._simulator = Simulator(settings, clock, production)
        self.transport = self._simulator.transport()
        self.keys: dict[str, bytes] = {}  # of each customer
        self.products: dict[str, str] = {}  # of each instance, as it was bought
        self.refused = 0  # deeds that the merchant answered with a no
        self._upgrades = features.upgrades
        self._latest: dict[tuple[str, str], str] = {}  # instance by customer and product
        self._orders: dict[Deed, Order] = {}
        self._done: set[tuple[Deed, str]] = set()

    def open(self, sold: Iterable[Product]) -> None:
        """Put everything on sale."""
        self._simulator.marketplace.offer([_offer(product) for product in sold])

    async def close(self) -> None:
        await self._simulator.close()

    async def do(self, deed: Deed) -> bool:
        """Do it; False when it has to be tried again later."""
        if deed.what is What.BUY:
            return await self._buy(deed)
        done = [await self._act(deed, product) for product in deed.goods]
        return all(done)

    async def _buy(self, deed: Deed) -> bool:
        order = self._orders.get(deed)
        if order is None:
            items = [Item(product, deed.expires_ms or None) for product in deed.goods]
            order = self._orders[deed] = self._simulator.order(deed.customer, *items)
        opened = await self._simulator.creation.open(order)
        for line in opened.instances:
            instance, product = str(line["instance_id"]), str(line["product_id"])
            self.products[instance] = product
            self._latest[deed.customer, product] = instance
            if key := _key_in(line["info"]):
                self.keys[deed.customer] = key
        return len(opened.instances) == len(deed.goods) and deed.customer in self.keys

    async def _act(self, deed: Deed, product: str) -> bool:
        instance = self._latest.get((deed.customer, product))
        if instance is None or (deed, instance) in self._done:
            return True
        code = (await self._ask(deed, instance)).reply.result_code
        if code in ("", _INTERNAL):
            return False
        self._done.add((deed, instance))
        self.refused += code != _DONE
        return True

    async def _ask(self, deed: Deed, instance: str) -> Answered:
        if deed.what is not What.UPGRADE:
            return await self._simulator.act(instance, deed.what.value)
        if self._upgrades:
            return await self._simulator.upgrade(instance, Item(deed.to))
        change = {"scene": _CHANGE, "productId": deed.to}
        return await self._simulator.act(instance, "refresh", change)

    def advance(self) -> None:
        """Validations and collections that are due by the clock."""
        self._simulator.advance()

    def collect(self) -> None:
        """Everything that was pushed, whatever is due: only at the very end."""
        self._simulator.advance()
        self._simulator.marketplace.collect(self._simulator.clock.now_ms())

    def spoil(self, shares: Mapping[str, float], seed: int) -> None:
        """From now on pushes fail in these ways, each with its share; in none without any."""
        self._simulator.faults.set({"random": {"push": {"seed": seed, **shares}}})

    @property
    def records(self) -> Sequence[StoredRecord]:
        """Every usage record as it came, and what became of it."""
        return self._simulator.marketplace.records

    @property
    def findings(self) -> Sequence[Finding]:
        """What the marketplace has to complain of."""
        return [Finding(**found) for found in self._simulator.findings.as_json()]


def _key_in(info: object) -> bytes:
    """The API key that queryInstance shows the buyer; empty without one."""
    app = info.get("appInfo") if isinstance(info, dict) else None
    return str(app.get("password", "")).encode() if isinstance(app, dict) else b""


def _offer(product: Product) -> models.Product:
    package = product.package
    quotas = {item.of: item.quota for item in package.items} if package else {}
    return models.Product(
        product.product_id,
        product.product_id,
        Kind.ON_DEMAND_PKG if package else Kind.ON_DEMAND,
        stop_before_excess=package is not None and package.stop_before_excess,
        covers=frozenset(quotas),
        quotas=quotas,
        cycle=Cycle(product.cycle),
    )
