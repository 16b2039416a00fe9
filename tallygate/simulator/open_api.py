"""The open API that the merchant calls: usage push and order query (spec §7), with faults."""

from typing import Final

import anyio
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from .aksk import SignedRequest, refusal
from .clock import Clock
from .faults import Fault, Faults
from .findings import Finding
from .intake import SUCCESS, Intake
from .marketplace import Marketplace
from .orders import failure, order_reply
from .settings import SimulatorSettings
from .wire import answer, read_body

PREFIX: Final = "/api/mkp-openapi-public/global/v1"
_THROTTLED: Final = {"error_code": "APIGW.0308", "error_msg": "throttling threshold reached"}
_INTERNAL: Final = {"error_code": "MKT.0999", "error_msg": "internal error"}


class OpenApi:
    """Endpoints of one seller."""

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

    def routes(self) -> list[Route]:
        return [
            Route(f"{PREFIX}/isv/usage-data", self.usage_data, methods=["POST"]),
            Route(f"{PREFIX}/order/query", self.order_query, methods=["GET"]),
        ]

    async def usage_data(self, request: Request) -> Response:
        signed = signed_request(request, await read_body(request))
        fault = self._faults.next("push")
        if fault is not None and (failed := _push_failure(fault)):
            return failed
        outcome = self._intake.take(signed, self._clock.now_ms())
        if fault is not None and outcome == SUCCESS:
            await _hang(request, fault.seconds)
            return Response(status_code=504)
        return answer(outcome.as_json(), outcome.status)

    async def order_query(self, request: Request) -> Response:
        signed = signed_request(request, await read_body(request))
        if fault := self._faults.next("order_query"):
            if fault.kind == "throttle":
                return answer(failure("CBC.0250", "too frequent"), 406)
            if fault.kind == "http_500":
                return Response("internal error", 500)
            await anyio.sleep(fault.seconds)
        status, reply = self._order_query(signed, request)
        return answer(reply, status)

    def _order_query(
        self, signed: SignedRequest, request: Request
    ) -> tuple[int, dict[str, object]]:
        now_ms = self._clock.now_ms()
        if reason := refusal(signed, self._settings.ak, self._settings.sk, now_ms):
            return self._refuse(401, "CBC.0154", f"illegal token: {reason}")
        order_id = request.query_params.get("orderId", "")
        line_id = request.query_params.get("orderLineId")
        if not 1 <= len(order_id) <= 64 or (line_id is not None and len(line_id) > 64):
            return self._refuse(400, "CBC.0101", "orderId must have 1 to 64 characters")
        order = self._marketplace.orders.get(order_id)
        reply = order and order_reply(order, line_id or None)
        if not reply:
            return self._refuse(500, "CBC.9001", "there is no such order or order line")
        return 200, reply

    def _refuse(self, status: int, code: str, message: str) -> tuple[int, dict[str, object]]:
        self._marketplace.findings.add(Finding("order-query-refused", f"{code} {message}"))
        return status, failure(code, message)


def signed_request(request: Request, body: bytes) -> SignedRequest:
    """The request as its sender signed it: path and query before any decoding."""
    raw_path: bytes = request.scope.get("raw_path") or request.url.path.encode()
    return SignedRequest(
        method=request.method,
        path=raw_path.partition(b"?")[0].decode("latin-1"),
        query=request.scope["query_string"].decode("latin-1"),
        headers=dict(request.headers),
        body=body,
    )


def _push_failure(fault: Fault) -> Response | None:
    """Faults that lose the push; None for the one that loses only the answer."""
    if fault.kind == "http_500":
        return Response("internal error", 500)
    if fault.kind == "throttle":
        return answer(_THROTTLED, 429)
    return answer(_INTERNAL, 500) if fault.kind == "mkt_0999" else None


async def _hang(request: Request, seconds: float) -> None:
    """Stays silent until the caller gives up."""
    with anyio.move_on_after(seconds):
        while (await request.receive())["type"] != "http.disconnect":
            pass
