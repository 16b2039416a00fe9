"""What happens to an instance after its creation: query, refresh, freeze, upgrade, release."""

from collections.abc import Mapping
from typing import Final

from .checks import SUCCESS
from .clock import Clock
from .conversation import Answered, Conversation
from .info_checks import Asked, check_info
from .marketplace import Marketplace
from .models import Instance, Item, Kind, OrderLine
from .times import DAY_MS, format_compact_time, parse_compact_time

RENEWAL_MS: Final = 30 * DAY_MS
RENEWAL_CHANGE: Final = "RENEWAL_CHANGE"
ACTIVITIES: Final[Mapping[str, str]] = {
    "query": "queryInstance",
    "refresh": "refreshInstance",
    "freeze": "updateInstanceStatus",
    "unfreeze": "updateInstanceStatus",
    "release": "releaseInstance",
}
_STATUS: Final = {"freeze": "FREEZE", "unfreeze": "UNFREEZE"}


class Lifecycle:
    """Acts on instances and keeps the marketplace's view of them."""

    def __init__(self, marketplace: Marketplace, conversation: Conversation, clock: Clock) -> None:
        self._marketplace = marketplace
        self._conversation = conversation
        self._clock = clock

    async def act(
        self, instance: Instance, action: str, overrides: Mapping[str, object]
    ) -> Answered:
        """One of ACTIVITIES for one instance; `overrides` replace fields of the body."""
        body = {**self._body(instance, action), **overrides}
        answered = await self._conversation.call(body)
        if answered.reply.result_code != SUCCESS:
            return answered
        if action == "query":
            now_ms = self._clock.now_ms()
            found = check_info(answered.reply, [self._asked(instance)], now_ms)
            self._conversation.note(answered, found, instance.instance_id)
        if body.get("testFlag") != "1":
            _remember(instance, action, body, answered.sent_ms)
            self._remember_change(instance, body, answered.sent_ms)
        return answered

    async def upgrade(self, instance: Instance, item: Item, test_flag: bool = False) -> Answered:
        """A CHANGE order that order query knows, then upgradeInstance; the id stays (§2.11).

        Raises BadRequest for a product that is not on sale.
        """
        order = self._marketplace.follow_up(instance, "CHANGE", self._clock.now_ms(), item)
        [line] = order.lines
        body = {
            "activity": "upgradeInstance",
            "instanceId": instance.instance_id,
            "orderId": order.order_id,
            "orderLineId": line.order_line_id,
            **({"testFlag": "1"} if test_flag else {}),
        }
        answered = await self._conversation.call(body)
        if answered.reply.result_code == SUCCESS and not test_flag:
            instance.become(line, answered.sent_ms)
        return answered

    def _remember_change(
        self, instance: Instance, body: Mapping[str, object], sent_ms: int
    ) -> None:
        """A renewal may change the specification (§2.8)."""
        product = self._marketplace.products.get(str(body.get("productId")))
        if body.get("scene") == RENEWAL_CHANGE and product is not None:
            instance.become(OrderLine(str(body.get("orderLineId")), product), sent_ms)

    def _body(self, instance: Instance, action: str) -> dict[str, object]:
        body = {"activity": ACTIVITIES[action], "instanceId": instance.instance_id}
        if action in _STATUS:
            return {**body, "status": _STATUS[action]}
        if action == "refresh":
            return {**body, **self._renewal(instance)}
        return dict(body)

    def _renewal(self, instance: Instance) -> dict[str, object]:
        """A renewal order that order query knows, for 30 days more."""
        now_ms = self._clock.now_ms()
        expires_ms = max(now_ms, instance.expires_ms or now_ms) + RENEWAL_MS
        item = Item(instance.product.product_id, expires_ms)
        order = self._marketplace.follow_up(instance, "RENEW", now_ms, item)
        return {
            "scene": "RENEWAL",
            "orderId": order.order_id,
            "orderLineId": order.lines[0].order_line_id,
            "expireTime": format_compact_time(expires_ms),
        }

    def _asked(self, instance: Instance) -> Asked:
        package = instance.product.kind is Kind.ON_DEMAND_PKG
        related = self._marketplace.relatable(instance) if package else None
        return Asked(instance.instance_id, instance.product.metered, related)


def _remember(instance: Instance, action: str, body: Mapping[str, object], sent_ms: int) -> None:
    if action == "freeze":
        instance.freeze(sent_ms)
    elif action == "unfreeze":
        instance.unfreeze(sent_ms)
    elif action == "refresh" and instance.expires_ms is not None:
        instance.expires_ms = parse_compact_time(body.get("expireTime")) or instance.expires_ms
    elif action == "release" and instance.closed_ms is None:
        instance.closed_ms = sent_ms
