"""The open API without a wire (spec §7): what a signed call is answered, faults included.

`open_api` says it over HTTP, `transport` to a client in the same process.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qs

from .aksk import SignedRequest, refusal
from .clock import Clock
from .fault_sources import Fault
from .faults import Faults
from .findings import Finding
from .intake import SUCCESS, Answer, Intake, Rejection
from .marketplace import Marketplace
from .orders import failure, order_reply
from .settings import SimulatorSettings

PREFIX: Final = "/api/mkp-openapi-public/global/v1"
PUSH_PATH: Final = f"{PREFIX}/isv/usage-data"
OLD_PUSH_PATH: Final = "/rest/marketplace/v1/isv/usage-data"
ORDER_PATH: Final = f"{PREFIX}/order/query"
# HTTP status by error_code (spec §7.3); what is not here comes with 500.
_STATUS: Final = {
    **dict.fromkeys(("MKT.0101", "MKT.0102", "MKT.0199"), 400),
    **dict.fromkeys(("MKT.0150", "MKT.0151", "MKT.0154"), 401),
    "94060999": 200,
}


@dataclass(frozen=True)
class Said:
    """An answer: JSON, or text, or nothing. It comes after `delay_s`.

    `lost`: it never comes, the caller waits in vain. `unreachable`: nobody was there to ask.
    """

    status: int
    body: object = None
    headers: Mapping[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    lost: bool = False
    unreachable: bool = False


class Desk:
    """Answers the calls of one seller."""

    def __init__(
        self,
        settings: SimulatorSettings,
        marketplace: Marketplace,
        intake: Intake,
        faults: Faults,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._marketplace = marketplace
        self._intake = intake
        self._faults = faults
        self._clock = clock

    def answer(self, request: SignedRequest) -> Said:
        """Any call of the open API, told by method and path."""
        calls = {
            ("POST", PUSH_PATH): self.push,
            ("POST", OLD_PUSH_PATH): self.push,
            ("GET", ORDER_PATH): self.order_query,
        }
        call = calls.get((request.method, request.path))
        return Said(404, "not found") if call is None else call(request)

    def push(self, request: SignedRequest) -> Said:
        """A usage push of either interface. What was due before it is done first."""
        now_ms = self._clock.now_ms()
        self._marketplace.advance(now_ms)
        fault = self._faults.next("push", now_ms)
        if fault is None:
            return _said(self._take(request, now_ms))
        return self._spoilt_push(fault, request, now_ms)

    def order_query(self, request: SignedRequest) -> Said:
        """`orderId` and, optionally, `orderLineId` in the query (spec §7.5)."""
        now_ms = self._clock.now_ms()
        fault = self._faults.next("order_query", now_ms)
        if fault is None or fault.kind == "slow":
            status, reply = self._order(request, now_ms)
            return Said(status, reply, delay_s=fault.seconds if fault else 0.0)
        if fault.kind == "throttle":
            return Said(406, failure("CBC.0250", "too frequent"), _retry_after(fault))
        return _unreachable() if fault.kind == "unreachable" else Said(500, "internal error")

    def _take(
        self, request: SignedRequest, now_ms: int, rejection: Rejection | None = None
    ) -> Answer:
        old = request.path == OLD_PUSH_PATH
        if rejection is None:
            return self._intake.take(request, now_ms, old)
        return self._intake.take(request, now_ms, old, rejection)

    def _spoilt_push(self, fault: Fault, request: SignedRequest, now_ms: int) -> Said:
        if fault.kind == "unreachable":
            return _unreachable()
        if fault.kind == "reject_rows":
            return _said(self._take(request, now_ms, Rejection(fault.rejects, fault.taken)))
        if fault.taken and (outcome := self._take(request, now_ms)) != SUCCESS:
            return _said(outcome)
        if fault.kind == "timeout_after_accept":
            return Said(504, delay_s=fault.seconds, lost=True)
        return _failure(fault)

    def _order(self, signed: SignedRequest, now_ms: int) -> tuple[int, dict[str, object]]:
        if reason := refusal(signed, self._settings.ak, self._settings.sk, now_ms):
            return self._refuse(401, "CBC.0154", f"illegal token: {reason}")
        query = parse_qs(signed.query)
        order_id = query.get("orderId", [""])[0]
        line_id = query.get("orderLineId", [""])[0]
        if not 1 <= len(order_id) <= 64 or len(line_id) > 64:
            return self._refuse(400, "CBC.0101", "orderId must have 1 to 64 characters")
        order = self._marketplace.orders.get(order_id)
        reply = order and order_reply(order, line_id or None)
        if not reply:
            return self._refuse(500, "CBC.9001", "there is no such order or order line")
        return 200, reply

    def _refuse(self, status: int, code: str, message: str) -> tuple[int, dict[str, object]]:
        self._marketplace.findings.add(Finding("order-query-refused", f"{code} {message}"))
        return status, failure(code, message)


def _said(answer: Answer) -> Said:
    return Said(answer.status, answer.as_json())


def _unreachable() -> Said:
    return Said(503, "service unavailable", unreachable=True)


def _failure(fault: Fault) -> Said:
    """What a push meets when it fails; whether its records were stored is another matter."""
    if fault.kind in ("http_500", "http_5xx"):
        return Said(fault.status or 500, "internal error")
    if fault.kind == "throttle":
        code = fault.code or "APIGW.0308"
        said = {"error_code": code, "error_msg": "throttling threshold reached"}
        return Said(fault.status or 429, said, _retry_after(fault))
    code = "MKT.0999" if fault.kind == "mkt_0999" else fault.code or "MKT.0100"
    status = fault.status or _STATUS.get(code, 500)
    return Said(status, {"error_code": code, "error_msg": "a fault that was ordered"})


def _retry_after(fault: Fault) -> dict[str, str]:
    return {"Retry-After": str(1 if fault.retry_after is None else fault.retry_after)}
