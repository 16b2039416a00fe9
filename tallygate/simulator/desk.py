"""The open API without a wire (spec §7): what a signed call is answered, faults included.

`open_api` says it over HTTP, `transport` to a client in the same process.
"""

from typing import Final
from urllib.parse import parse_qs

from .aksk import SignedRequest, refusal
from .clock import Clock
from .fault_sources import Fault
from .faults import Faults
from .findings import Finding
from .intake import SUCCESS, Answer, Intake, Rejection
from .license_desk import PREFIX, LicenseDesk
from .marketplace import Marketplace
from .orders import failure, order_reply
from .said import Said, failed, retry_after, said_of, unreachable
from .settings import SimulatorSettings

PUSH_PATH: Final = f"{PREFIX}/isv/usage-data"
OLD_PUSH_PATH: Final = "/rest/marketplace/v1/isv/usage-data"
ORDER_PATH: Final = f"{PREFIX}/order/query"


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
        self._licenses = LicenseDesk(settings, marketplace.licenses, marketplace.findings, faults)

    def answer(self, request: SignedRequest) -> Said:
        """Any call of the open API, told by method and path."""
        calls = {
            ("POST", PUSH_PATH): self.push,
            ("POST", OLD_PUSH_PATH): self.push,
            ("GET", ORDER_PATH): self.order_query,
        }
        if call := calls.get((request.method, request.path)):
            return call(request)
        said = self._licenses.answer(request, self._clock.now_ms())
        return said or Said(404, "not found")

    def push(self, request: SignedRequest) -> Said:
        """A usage push of either interface. What was due before it is done first."""
        now_ms = self._clock.now_ms()
        self._marketplace.advance(now_ms)
        fault = self._faults.next("push", now_ms)
        if fault is None:
            return said_of(self._take(request, now_ms))
        return self._spoilt_push(fault, request, now_ms)

    def order_query(self, request: SignedRequest) -> Said:
        """`orderId` and, optionally, `orderLineId` in the query (spec §7.5)."""
        now_ms = self._clock.now_ms()
        fault = self._faults.next("order_query", now_ms)
        if fault is None or fault.kind == "slow":
            status, reply = self._order(request, now_ms)
            return Said(status, reply, delay_s=fault.seconds if fault else 0.0)
        if fault.kind == "throttle":
            return Said(406, failure("CBC.0250", "too frequent"), retry_after(fault))
        return unreachable() if fault.kind == "unreachable" else Said(500, "internal error")

    def _take(
        self, request: SignedRequest, now_ms: int, rejection: Rejection | None = None
    ) -> Answer:
        old = request.path == OLD_PUSH_PATH
        if rejection is None:
            return self._intake.take(request, now_ms, old)
        return self._intake.take(request, now_ms, old, rejection)

    def _spoilt_push(self, fault: Fault, request: SignedRequest, now_ms: int) -> Said:
        if fault.kind == "unreachable":
            return unreachable()
        if fault.kind == "reject_rows":
            return said_of(self._take(request, now_ms, Rejection(fault.rejects, fault.taken)))
        if fault.taken and (outcome := self._take(request, now_ms)) != SUCCESS:
            return said_of(outcome)
        if fault.kind == "timeout_after_accept":
            return Said(504, delay_s=fault.seconds, lost=True)
        return failed(fault)

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
