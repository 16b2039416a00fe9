"""What happens to an instance after its creation: query, refresh, freeze, unfreeze, release."""

from collections.abc import Mapping
from typing import Final

from .checks import SUCCESS
from .clock import Clock
from .conversation import Answered, Conversation
from .info_checks import Asked, check_info
from .marketplace import Marketplace
from .models import Instance, Kind, Order
from .times import DAY_MS, format_compact_time

RENEWAL_MS: Final = 30 * DAY_MS
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
            self._remember(instance, action, answered.sent_ms)
        return answered

    def _body(self, instance: Instance, action: str) -> dict[str, object]:
        body = {"activity": ACTIVITIES[action], "instanceId": instance.instance_id}
        if action in _STATUS:
            return {**body, "status": _STATUS[action]}
        if action == "refresh":
            return {**body, **self._renewal(instance)}
        return dict(body)

    def _renewal(self, instance: Instance) -> dict[str, object]:
        """A renewal order that order query knows, 30 days from now."""
        now_ms = self._clock.now_ms()
        expires_ms = now_ms + RENEWAL_MS
        first = self._marketplace.order(instance.order_id)
        order = self._marketplace.place(
            Order(
                order_id=self._marketplace.new_order_id(now_ms),
                order_type="RENEW",
                created_ms=now_ms,
                customer_id=first.customer_id,
                customer_name=first.customer_name,
            ),
            [(instance.product.product_id, expires_ms)],
        )
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

    def _remember(self, instance: Instance, action: str, sent_ms: int) -> None:
        if action in _STATUS:
            instance.frozen = action == "freeze"
        elif action == "release" and instance.closed_ms is None:
            instance.closed_ms = sent_ms
