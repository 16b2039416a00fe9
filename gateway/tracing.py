"""Which calls become spans, and what an upstream is told of them. The spans themselves are others'.

Decided once, when a call is let in: by a share of all calls, or because the caller records its trace;
callers are strangers, so both together are bounded. A call that is not traced goes on as it came.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import NamedTuple, Protocol

from gateway.headers import values_of
from gateway.onlooker_settings import TracingSettings
from gateway.passage import Passage
from gateway.trace_context import TRACEPARENT, TraceParent, retold, trace_parent

Attributes = Mapping[str, str | int]


class Span(Protocol):
    """One call, while it is served. Ids in lower-case hex."""

    @property
    def trace_id(self) -> str: ...

    @property
    def span_id(self) -> str: ...

    def end(self, attributes: Attributes, error: str) -> None:
        """It is over; `error` names what went wrong. Never raises, never waits."""


class Spans(Protocol):
    """Makes spans, and brings those that ended to whoever collects them."""

    def begin(self, parent: TraceParent | None, name: str, attributes: Attributes) -> Span:
        """Never raises, never waits."""
        ...


class Traced(NamedTuple):
    """A call that is traced."""

    span: Span
    keeps_state: bool  # the caller's `tracestate` belongs to the same trace

    @property
    def parent(self) -> bytes:
        """The `traceparent` for the upstream: the span is its parent."""
        return f"00-{self.span.trace_id}-{self.span.span_id}-01".encode()


class Tracing:
    """Of one worker. `draw` gives a random number in [0, 1), `now_s` a time that never steps."""

    def __init__(
        self,
        settings: TracingSettings,
        spans: Spans,
        draw: Callable[[], float],
        now_s: Callable[[], float],
    ) -> None:
        self._sample = settings.sample
        self._most = settings.max_per_second
        self._spans = spans
        self._draw = draw
        self._now_s = now_s
        self._second = 0
        self._left = 0

    def begin(
        self, parents: list[bytes], method: str, path: str, passage: Passage, request_id: str
    ) -> Traced | None:
        """A span for a call with these `traceparent` fields; None where it is not traced."""
        parent = trace_parent(parents)
        asked_for = parent is not None and parent.sampled
        if not (asked_for or self._draw() < self._sample) or not self._may():
            return None
        route = passage.route.name
        about: Attributes = {
            "http.request.method": method,
            "url.path": path,
            "tallygate.route": route,
            "tallygate.request_id": request_id,
            "tallygate.customer_id": passage.admitted.customer_id,
        }
        return Traced(self._spans.begin(parent, f"{method} {route}", about), parent is not None)

    def begin_passage(self, passage: Passage, request_id: str) -> tuple[Passage, Traced | None]:
        """The same for a passage that still has its head; what goes upstream names the span."""
        way = passage.way
        head = way.outgoing.head
        parents = values_of(head.headers, TRACEPARENT)
        traced = self.begin(parents, head.method, way.path, passage, request_id)
        if traced is None:
            return passage, None
        fields = retold(head.headers, traced.parent, keeps_state=traced.keeps_state)
        outgoing = replace(way.outgoing, head=replace(head, headers=fields))
        return passage._replace(way=way._replace(outgoing=outgoing)), traced

    def _may(self) -> bool:
        second = int(self._now_s())
        if second != self._second:
            self._second, self._left = second, self._most
        self._left -= 1
        return self._left >= 0


def end(traced: Traced | None, status: int, sizes: tuple[int, int], error: str = "") -> None:
    """A call is over; `sizes` are the bytes of both bodies. `status` 0 where nobody was answered."""
    if traced is not None:
        about: dict[str, str | int] = {
            "http.request.body.size": sizes[0],
            "http.response.body.size": sizes[1],
        }
        if status:
            about["http.response.status_code"] = status
        traced.span.end(about, error or (str(status) if status >= 500 else ""))
