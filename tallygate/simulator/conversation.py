"""Calls the merchant: sends one body, checks the reply, remembers what was wrong."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import uuid4

from .callbacks import Callbacks
from .canonical import canonical
from .checks import Reply, check_reply
from .errors import NotReady
from .findings import Finding, FindingLog
from .tampering import expected_codes


@dataclass
class Answered:
    """One callback's reply and what was wrong with it; `sent_ms` is the callback's timestamp."""

    reply: Reply
    sent_ms: int
    findings: list[Finding] = field(default_factory=list)

    def as_json(self) -> dict[str, object]:
        return {
            "reply": shown(self.reply),
            "http_status": self.reply.status,
            "elapsed_ms": self.reply.elapsed_ms,
            "findings": [finding.as_json() for finding in self.findings],
        }


def shown(reply: Reply) -> object:
    """The reply for reading: the parsed body, else its text, else why there is none."""
    if reply.status is None:
        return {"failure": reply.failure}
    try:
        return json.loads(reply.content)
    except (ValueError, RecursionError):
        return reply.content.decode(errors="replace")[:2000]


def instance_id_of(reply: Reply) -> str:
    """`instanceId` of a newInstance reply, empty when there is none."""
    value = (reply.body or {}).get("instanceId")
    return value if isinstance(value, str) else ""


def unequal_ids(replies: Iterable[Reply]) -> Finding | None:
    """Repeated newInstance calls of one line must all name the same instance (§2.6)."""
    given = {found for reply in replies if (found := instance_id_of(reply))}
    if len(given) > 1:
        return Finding("idempotency", f"one order line got {len(given)} different instanceIds")
    return None


class Conversation:
    """All callbacks to one production address, which may change while it runs."""

    def __init__(self, callbacks: Callbacks, log: FindingLog, production_url: str | None) -> None:
        self.production_url = production_url
        self._callbacks = callbacks
        self._log = log

    async def call(
        self, body: Mapping[str, object], accepted: frozenset[str] | None = None
    ) -> Answered:
        """One well-signed callback; `accepted` are the result codes that are no finding."""
        return (await self.call_raw(body, accepted=accepted))[0]

    async def call_raw(
        self,
        body: object,
        tamper: str = "none",
        repeat: int = 1,
        accepted: frozenset[str] | None = None,
    ) -> list[Answered]:
        """Any body `repeat` times; text goes out as it is. A replay repeats the very same bytes."""
        activity = str(body.get("activity")) if isinstance(body, Mapping) else ""
        callback = self._callbacks.sign(content_of(body, 0), tamper)
        answers: list[Answered] = []
        for attempt in range(repeat):
            if attempt and tamper != "replay":
                callback = self._callbacks.sign(content_of(body, attempt), tamper)
            reply = await self._callbacks.deliver(self.address, callback)
            answers.append(Answered(reply, callback.sent_ms))
            codes = accepted or expected_codes(activity, tamper, attempt)
            self.note(answers[-1], check_reply(activity, reply, codes), activity)
        if activity == "newInstance" and (unequal := unequal_ids(a.reply for a in answers)):
            self.note(answers[-1], [unequal], activity)
        return answers

    def note(self, answered: Answered, findings: Sequence[Finding], subject: str) -> None:
        """Adds findings to the answer and to the log."""
        about = [finding.about(subject) for finding in findings]
        answered.findings += about
        self._log.add(*about)

    @property
    def address(self) -> str:
        """Raises NotReady while there is no production address."""
        if self.production_url is None:
            raise NotReady('no production address: PUT /_sim/settings {"production_url": …} first')
        return self.production_url


def content_of(body: object, attempt: int) -> bytes:
    """The bytes to sign and send. A repeated newInstance gets another businessId (§2.6)."""
    if isinstance(body, str):
        return body.encode()
    if attempt and isinstance(body, Mapping) and "businessId" in body:
        body = {**body, "businessId": str(uuid4())}
    return canonical(body).encode()
