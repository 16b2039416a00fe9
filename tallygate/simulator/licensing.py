"""Asks the merchant for licences, and tells him what becomes of authorization codes (spec §4)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from uuid import uuid4

import anyio

from .checks import IN_PROCESS, SUCCESS
from .clock import Clock
from .conversation import Answered, Conversation
from .findings import Finding
from .license_book import Code, CodeState, Wish
from .lifecycle import RENEWAL_MS
from .marketplace import Marketplace
from .models import Instance, Kind
from .orders import LINE_SUFFIX
from .settings import SimulatorSettings
from .times import DAY_MS, format_compact_time, license_time

GET: Final = "getLicenseAsync"
_ACCEPTED: Final = frozenset({SUCCESS, IN_PROCESS})
CODE_ACTIONS: Final[Mapping[str, str]] = {
    "refresh": "refreshLicenseCode",
    "freeze": "updateLicenseCodeStatus",
    "unfreeze": "updateLicenseCodeStatus",
    "release": "releaseLicenseCode",
}
_STATUS: Final = {"freeze": "FREEZE", "unfreeze": "UNFREEZE"}


@dataclass
class Asked:
    """One application, the replies to it, and what was wrong with them."""

    wish: Wish
    answers: list[Answered] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def as_json(self) -> dict[str, object]:
        return {
            "license": self.wish.as_json(),
            "replies": [answered.as_json() for answered in self.answers],
            "findings": [finding.as_json() for finding in self.findings],
        }


class Licensing:
    """Every step is one that the marketplace itself repeats."""

    def __init__(
        self,
        settings: SimulatorSettings,
        marketplace: Marketplace,
        conversation: Conversation,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._marketplace = marketplace
        self._book = marketplace.licenses
        self._conversation = conversation
        self._clock = clock

    # Licences...

    async def ask(
        self, instance: Instance, fields: Mapping[str, object], expect: frozenset[str] = _ACCEPTED
    ) -> Asked:
        """A new application, or with a known `eventId` the same one again; `fields` replace those of
        the body. Sent until one of `expect` is answered; then it waits for the upload."""
        wish = self._book.ask(self._wish(instance, fields))
        asked = Asked(wish)
        body = {"activity": GET, **wish.fields}
        for attempt in range(self._settings.create_attempts):
            if attempt:
                await anyio.sleep(self._settings.create_interval)
            answered = await self._conversation.call(body, accepted=expect)
            asked.answers.append(answered)
            asked.findings += answered.findings
            wish.answers = [*wish.answers, answered.reply.result_code][-100:]
            if answered.reply.result_code in expect:
                break
        if asked.answers[-1].reply.result_code in _ACCEPTED and body.get("testFlag") != "1":
            await self._await_upload(asked)
        return asked

    def _wish(self, instance: Instance, fields: Mapping[str, object]) -> Wish:
        now_ms = self._clock.now_ms()
        ends_ms = instance.expires_ms or now_ms + 365 * DAY_MS
        until = {"expireTime": license_time(ends_ms)} if _has_an_end(instance) else {}
        made: dict[str, object] = {
            "instanceId": instance.instance_id,
            "effectiveTime": license_time(now_ms),
            **until,
            "eventId": uuid4().hex,
            **fields,
        }
        whole = {name: value for name, value in made.items() if value is not None}
        return Wish(str(whole.get("eventId", "")), instance.instance_id, whole)

    async def _await_upload(self, asked: Asked) -> None:
        for _ in range(self._settings.poll_attempts):
            if asked.wish.delivered:
                return
            await anyio.sleep(self._settings.poll_interval)
        late = Finding("license", "the licence was never uploaded", asked.wish.event_id)
        asked.findings.append(late)
        self._marketplace.findings.add(late)

    # Authorization codes...

    async def tell(self, code: Code, action: str, fields: Mapping[str, object]) -> Answered:
        """One of CODE_ACTIONS; what succeeds is remembered."""
        body = {**self._code_body(code, action), **fields}
        answered = await self._conversation.call(body)
        if answered.reply.result_code == SUCCESS and body.get("testFlag") != "1":
            _remember(code, action)
        return answered

    def _code_body(self, code: Code, action: str) -> dict[str, object]:
        body: dict[str, object] = {"activity": CODE_ACTIONS[action], "license": code.license}
        if action in _STATUS:
            return {**body, "status": _STATUS[action]}
        if action == "release":
            return body
        order_id = self._marketplace.new_order_id(self._clock.now_ms())
        return {
            **body,
            "scene": "RENEWAL",
            "orderId": order_id,
            "orderLineId": order_id + LINE_SUFFIX,
            "expireTime": format_compact_time(code.expires_ms + RENEWAL_MS),
        }


def _remember(code: Code, action: str) -> None:
    if action == "refresh":
        code.expires_ms += RENEWAL_MS
    else:
        states = {"freeze": CodeState.FROZEN, "unfreeze": CodeState.NORMAL}
        code.state = states.get(action, CodeState.RELEASED)


def _has_an_end(instance: Instance) -> bool:
    return instance.expires_ms is not None or instance.product.kind is Kind.PERIOD
