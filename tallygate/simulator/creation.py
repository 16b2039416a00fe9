"""Opens an order: newInstance for every line, patience while the merchant provisions (§2.6)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import uuid4

import anyio

from .checks import IN_PROCESS, RESULT_CODES, SUCCESS, accepted_codes
from .conversation import Answered, Conversation, instance_id_of, unequal_ids
from .findings import Finding
from .info_checks import entry_of
from .lifecycle import Lifecycle
from .marketplace import Marketplace
from .models import Instance, Order, OrderLine
from .settings import SimulatorSettings


@dataclass
class Opened:
    """The instances an order became, and what was wrong on the way."""

    instances: list[dict[str, object]] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def as_json(self) -> dict[str, object]:
        findings = [finding.as_json() for finding in self.findings]
        return {"instances": self.instances, "findings": findings}


class Creation:
    """Opening may be repeated: every step is one the marketplace itself repeats."""

    def __init__(
        self,
        settings: SimulatorSettings,
        marketplace: Marketplace,
        conversation: Conversation,
        lifecycle: Lifecycle,
    ) -> None:
        self._settings = settings
        self._marketplace = marketplace
        self._conversation = conversation
        self._lifecycle = lifecycle

    async def open(self, order: Order) -> Opened:
        """Creates every line in turn. What fails is a finding."""
        opened = Opened()
        for line in order.lines:
            instance = await self._create(order, line, opened)
            if instance is not None:
                opened.instances.append(await self._introduce(instance, opened))
        return opened

    async def _create(self, order: Order, line: OrderLine, opened: Opened) -> Instance | None:
        answered = await self._until_accepted(order, line, opened)
        if answered is None or not (instance_id := instance_id_of(answered.reply)):
            return None
        if answered.reply.result_code == IN_PROCESS:
            await self._again(order, line, answered, opened)
            if not await self._until_ready(instance_id, opened):
                return None
        return self._provision(order, line, instance_id, opened)

    async def _until_accepted(
        self, order: Order, line: OrderLine, opened: Opened
    ) -> Answered | None:
        """The marketplace keeps calling for three hours (§2.13); here a few times."""
        for attempt in range(self._settings.create_attempts):
            if attempt:
                await anyio.sleep(self._settings.create_interval)
            answered = await self._new_instance(order, line, opened)
            if answered.reply.result_code in accepted_codes("newInstance"):
                return answered
        return None

    async def _again(self, order: Order, line: OrderLine, first: Answered, opened: Opened) -> None:
        """Repeats a creation that is in process: it must name the same instance."""
        again = await self._new_instance(order, line, opened)
        if unequal := unequal_ids((first.reply, again.reply)):
            self._find(unequal.about(line.order_line_id), opened)

    async def _new_instance(self, order: Order, line: OrderLine, opened: Opened) -> Answered:
        body = {
            "activity": "newInstance",
            "orderId": order.order_id,
            "orderLineId": line.order_line_id,
            "businessId": str(uuid4()),
        }
        answered = await self._conversation.call(body)
        self._marketplace.first_call(line.order_line_id, answered.sent_ms)
        opened.findings += answered.findings
        return answered

    async def _until_ready(self, instance_id: str, opened: Opened) -> bool:
        """Polls queryInstance until it succeeds (§2.6). A failing code is no finding meanwhile."""
        body = {"activity": "queryInstance", "instanceId": instance_id}
        for _ in range(self._settings.poll_attempts):
            answered = await self._conversation.call(body, accepted=RESULT_CODES)
            opened.findings += answered.findings
            if answered.reply.result_code == SUCCESS and entry_of(answered.reply, instance_id):
                return True
            await anyio.sleep(self._settings.poll_interval)
        self._find(Finding("creation", "queryInstance never succeeded", instance_id), opened)
        return False

    def _provision(
        self, order: Order, line: OrderLine, instance_id: str, opened: Opened
    ) -> Instance | None:
        instance = Instance(
            instance_id=instance_id,
            order_id=order.order_id,
            order_line_id=line.order_line_id,
            product=line.product,
            customer_id=order.customer_id,
            started_ms=self._marketplace.first_calls[line.order_line_id],
            expires_ms=line.expires_ms,
            quantity=line.linear_value or 1,
        )
        if taken := self._marketplace.provision(instance):
            self._find(taken, opened)
            return None
        return self._marketplace.instance(instance_id)

    async def _introduce(self, instance: Instance, opened: Opened) -> dict[str, object]:
        """What the marketplace shows the buyer: the instance with its access data."""
        answered = await self._lifecycle.act(instance, "query", {})
        opened.findings += answered.findings
        return {
            "instance_id": instance.instance_id,
            "order_line_id": instance.order_line_id,
            "product_id": instance.product.product_id,
            "info": _shown(entry_of(answered.reply, instance.instance_id)),
        }

    def _find(self, finding: Finding, opened: Opened) -> None:
        opened.findings.append(finding)
        self._marketplace.findings.add(finding)


def _shown(entry: Mapping[str, object] | None) -> object:
    """InstanceInfo with plain JSON numbers."""
    return json.loads(json.dumps(entry, default=float))
