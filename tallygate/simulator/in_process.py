"""The whole marketplace as plain objects with a clock as argument: no server, no socket, no waiting.

    clock = AnyClock()                             # has now_ms(), UTC milliseconds; you move it
    market = Simulator(SimulatorSettings(access_key=…, ak=…, sk=…, collect_at_minute=15), clock,
                       merchant=httpx.ASGITransport(control_plane_app))
    market.marketplace.offer([Product("chat", "Chat", Kind.ON_DEMAND)])
    opened = await market.buy("cust-1", Item("chat"))        # signed newInstance calls and all
    await market.act(instance_id, "freeze")                  # query refresh freeze unfreeze release
    await market.upgrade(instance_id, Item("chat-large"))    # a CHANGE order, upgradeInstance
    await market.licensing.ask(instance, {})                 # getLicenseAsync until it is taken
    await market.syncing.tenant(url, tenant, Flag.ADD, DEFAULT)   # the Kit; `directory` is the company
    http = httpx.AsyncClient(transport=market.transport())   # for the merchant's pushes and queries
    status, reply = market.push(body, headers)               # or without any client
    market.faults.set({"outages": [{"side": "push", "from_ms": …, "to_ms": …}]})
    market.advance()              # validations and collections due by the clock, each at its time
    market.collected()            # {instance_id: Decimal}; bills(), totals(), sdr_csv(), findings

`push` and everything the transport answers call `advance` first, so a clock that jumps over many
collection times gives what small steps give; call it once more before looking at the end.
"""

import secrets
from collections.abc import Mapping
from decimal import Decimal

import httpx

from .aksk import SignedRequest
from .authority import Authority
from .bills import Bill
from .callbacks import Callbacks
from .clock import Clock, ShiftedClock
from .conversation import Answered, Conversation
from .creation import Creation, Opened
from .desk import PUSH_PATH, Desk
from .directory import Directory
from .faults import Faults
from .findings import FindingLog
from .intake import Intake
from .licensing import Licensing
from .lifecycle import Lifecycle
from .marketplace import Marketplace
from .models import Item, Order
from .sdr_list import sdr_csv
from .settings import SimulatorSettings
from .syncing import Syncing
from .transport import MarketplaceTransport

_MERCHANT = "http://merchant/koogallery"


class Simulator:
    """One marketplace with one seller. `close` when callbacks were sent."""

    def __init__(
        self,
        settings: SimulatorSettings,
        clock: Clock,
        merchant: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.settings = settings
        self.clock = ShiftedClock(clock)
        self.marketplace = Marketplace(settings.rules)
        self.faults = Faults()
        self.faults.set(settings.faults)
        self.intake = Intake(settings, self.marketplace)
        self.desk = Desk(settings, self.marketplace, self.intake, self.faults, self.clock)
        self.callbacks = Callbacks(
            settings.access_key, self.clock, settings.callback_timeout, merchant
        )
        url = settings.production_url or (_MERCHANT if merchant else None)
        self.conversation = Conversation(self.callbacks, self.findings, url)
        self.lifecycle = Lifecycle(self.marketplace, self.conversation, self.clock)
        self.creation = Creation(settings, self.marketplace, self.conversation, self.lifecycle)
        self.licensing = Licensing(settings, self.marketplace, self.conversation, self.clock)
        self.directory = Directory()
        self.authority = Authority(self.directory, lambda: secrets.token_urlsafe(32))
        self.syncing = Syncing(settings, self.callbacks, self.findings, self.clock)

    @property
    def findings(self) -> FindingLog:
        """Everything the marketplace had to complain of."""
        return self.marketplace.findings

    @property
    def production_url(self) -> str:
        """Raises NotReady while there is none."""
        return self.conversation.address

    async def close(self) -> None:
        await self.callbacks.close()

    # Time...

    def advance(self, now_ms: int | None = None) -> None:
        """Does what is due by the clock, or until `now_ms`."""
        self.marketplace.advance(self.clock.now_ms() if now_ms is None else now_ms)

    # The merchant calls...

    def push(
        self, body: bytes, headers: Mapping[str, str], path: str = PUSH_PATH
    ) -> tuple[int, object]:
        """One signed usage push: HTTP status and the reply's JSON. Of a lost reply 504 and None."""
        lower = {name.lower(): value for name, value in headers.items()}
        said = self.desk.push(SignedRequest("POST", path, "", lower, body))
        return said.status, said.body

    def transport(self) -> MarketplaceTransport:
        """For an `httpx.AsyncClient` that pushes usage and queries orders."""
        return MarketplaceTransport(self.desk)

    # The marketplace calls...

    def order(self, customer_id: str, *items: Item, customer_name: str = "Customer") -> Order:
        """A paid order with a line for each item; raises BadRequest."""
        now_ms = self.clock.now_ms()
        order_id = self.marketplace.new_order_id(now_ms)
        order = Order(order_id, "NEW", now_ms, customer_id, customer_name)
        return self.marketplace.place(order, items)

    async def buy(self, customer_id: str, *items: Item) -> Opened:
        """Orders and opens: newInstance for every line, queryInstance for what it became."""
        return await self.creation.open(self.order(customer_id, *items))

    async def act(
        self, instance_id: str, action: str, overrides: Mapping[str, object] | None = None
    ) -> Answered:
        """query, refresh, freeze, unfreeze or release, as a signed callback."""
        instance = self.marketplace.instance(instance_id)
        return await self.lifecycle.act(instance, action, overrides or {})

    async def upgrade(self, instance_id: str, item: Item) -> Answered:
        """A CHANGE order for another specification, and upgradeInstance for it (spec §2.11)."""
        return await self.lifecycle.upgrade(self.marketplace.instance(instance_id), item)

    # What came of it...

    def collected(self) -> dict[str, Decimal]:
        """Collected billing units by instance; those without any are absent."""
        return self.marketplace.collected()

    def bills(self) -> list[Bill]:
        """What was charged, by instance and cycle, in the order of collection."""
        return self.marketplace.bills()

    def totals(self) -> dict[str, dict[str, str]]:
        """Usage by instance, as decimals: pushed, collected, refused."""
        return self.marketplace.totals()

    def sdr_csv(self, chinese: bool = False) -> str:
        """The SDR management list as the console exports it."""
        return sdr_csv(self.marketplace.records, chinese)
