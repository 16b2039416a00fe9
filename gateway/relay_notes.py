"""What those who look on are told of an exchange of the portable shell: metrics, access log, traces."""

import anyio

from gateway import tracing
from gateway.access_log import Asked, asked_only
from gateway.errors import GatewayError
from gateway.exchange import Exchange
from gateway.headers import values_of
from gateway.passage import RequestHead
from gateway.telemetry import NO_ROUTE
from gateway.trace_context import TRACEPARENT
from gateway.tracing import Traced
from gateway.workings import Workings
from metering.usage import Quantity, UsageRecord


class RelayNotes:
    """Of one exchange, from when it is let in. Made before anything is asked of its passage."""

    def __init__(self, workings: Workings, exchange: Exchange) -> None:
        self._access = workings.access
        self._telemetry = workings.telemetry
        self._exchange = exchange
        self._begun_s = anyio.current_time()
        self._upstream_s: float | None = None
        self._started = False
        self._traced: Traced | None = None
        if workings.tracing is not None:
            passage, self._traced = workings.tracing.begin_passage(
                exchange.passage, exchange.request_id
            )
            exchange.way = passage.way

        self._trace = values_of(exchange.way.outgoing.head.headers, TRACEPARENT)

    def answered(self, seconds: float) -> None:
        """The head of the reply came so long after the request was sent."""
        self._upstream_s = seconds
        self._telemetry.streams += 1
        self._telemetry.upstream_answered(self._exchange.route.name, seconds)

    def started(self, status: int) -> None:
        """The reply begins to go out."""
        self._started = True
        self._telemetry.answered(self._exchange.route.name, status)
        self._telemetry.began(self._exchange.route.name, anyio.current_time() - self._begun_s)

    def recorded(self, record: UsageRecord | None, number: int) -> None:
        """It ended with this record."""
        if record is not None and self._access.wants(record, number):
            self._access.add(record, number, self._asked())

    def over(self, refusal: GatewayError | None) -> None:
        """Nothing follows but, where it stands here, an answer of ours."""
        exchange = self._exchange
        if self._started:
            seconds = anyio.current_time() - self._begun_s
            self._telemetry.over(exchange.route.name, exchange.request_id, seconds)
        if refusal is not None and not exchange.answered:
            told = (exchange.request_id, exchange.route.name, exchange.passage, self._asked())
            self._access.refused(refusal, *told)
        if self._traced is not None:
            status = exchange.status or (0 if refusal is None else refusal.status)
            sizes = (exchange.bytes_in, exchange.bytes_out)
            tracing.end(self._traced, status, sizes, "" if refusal is None else refusal.code)

    def _asked(self) -> Asked:
        exchange = self._exchange
        seconds = anyio.current_time() - self._begun_s
        return Asked(
            exchange.way.outgoing.head.method,
            exchange.way.path,
            self._trace,
            exchange.bytes_in,
            exchange.bytes_out,
            seconds,
            self._upstream_s,
        )


def stretch_recorded(
    workings: Workings, head: RequestHead, record: UsageRecord | None, number: int
) -> None:
    """A stretch of a WebSocket ended with this record."""
    if record is not None and workings.access.wants(record, number):
        asked = asked_only(head.method, head.target, values_of(head.headers, TRACEPARENT))
        used, none = record.quantities, Quantity(0)
        sizes = [used.get(name, none).value for name in ("bytes_in", "bytes_out")]
        asked = asked._replace(bytes_in=sizes[0], bytes_out=sizes[1])
        workings.access.add(record, number, asked)


def turned_away(
    workings: Workings, error: GatewayError, request_id: str, head: RequestHead
) -> None:
    """A request was not let in."""
    if workings.access.errors:
        trace = values_of(head.headers, TRACEPARENT)
        asked = asked_only(head.method, head.target, trace)
        workings.access.refused(error, request_id, NO_ROUTE, None, asked)
