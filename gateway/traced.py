"""The line-rate shell's exchange where traces are made; where none are, this module has no part."""

from gateway import tracing
from gateway.admitted import Admitted
from gateway.asking import Client
from gateway.crossings import Crossings
from gateway.errors import GatewayError
from gateway.express import Express
from gateway.known_request import KnownRequest
from gateway.passage import Passage
from gateway.trace_context import in_lines, retold_lines
from gateway.tracing import Traced, Tracing
from metering.usage import Outcome


class TracedExpress(Express):
    """An Express that may have a span."""

    _traced: Traced | None = None
    _error: GatewayError | None = None

    def __init__(
        self,
        shared: Crossings,
        client: Client,
        known: KnownRequest,
        admitted: Admitted,
        framing: int,
        request_id: str,
    ) -> None:
        if shared.tracing is not None:
            known = self._begin_span(shared.tracing, known, admitted, request_id)
        super().__init__(shared, client, known, admitted, framing, request_id)

    def _begin_span(
        self, traces: Tracing, known: KnownRequest, admitted: Admitted, request_id: str
    ) -> KnownRequest:
        way = known.way
        before, passing, *_ = known.asked[0]
        method = before.partition(b" ")[0].decode()
        parents = in_lines(passing)
        traced = traces.begin(parents, method, way.path, Passage(way, admitted), request_id)
        if traced is None:
            return known
        self._traced = traced
        parent, keeps_state = traced.parent, traced.keeps_state
        return known._replace(
            asked=tuple(
                each._replace(passing=retold_lines(each.passing, parent, keeps_state=keeps_state))
                for each in known.asked
            )
        )

    def fail(self, error: GatewayError, outcome: Outcome = Outcome.UPSTREAM_CUT) -> None:
        """As it is, and remembered for the span."""
        self._error = self._error or error
        super().fail(error, outcome)

    def _leave(self) -> None:
        super()._leave()
        traced, self._traced = self._traced, None
        if traced is not None:
            exchange, error = self._exchange, self._error
            status = exchange.status or (0 if error is None else error.status)
            sizes = (exchange.bytes_in, exchange.bytes_out)
            tracing.end(traced, status, sizes, "" if error is None else error.code)
