from collections.abc import Iterator
from dataclasses import dataclass, field

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.access_log import AccessLog, Line
from gateway.onlooker_settings import AccessLogSettings, TracingSettings
from gateway.onlookers import Onlookers
from gateway.trace_context import TraceParent
from gateway.tracing import Attributes, Tracing
from tests.gateway.running import gateway
from tests.gateway.talking import dial, echo, talker
from tests.servers import Received, Upstream, upstream

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED = f"00-{TRACE}-{PARENT}-01"
UNSAMPLED = f"00-{TRACE}-{PARENT}-00"


@dataclass
class FakeSpan:
    """Ids that can be read, and how it ended."""

    trace_id: str
    parent: TraceParent | None
    name: str
    about: dict[str, str | int]
    span_id: str = "5" * 16
    error: str | None = None

    def end(self, attributes: Attributes, error: str) -> None:
        assert self.error is None, "it ended twice"
        self.about.update(attributes)
        self.error = error


@dataclass
class FakeSpans:
    """Those that were begun."""

    begun: list[FakeSpan] = field(default_factory=list)

    def begin(self, parent: TraceParent | None, name: str, attributes: Attributes) -> FakeSpan:
        trace_id = "4" * 32 if parent is None else parent.trace_id
        self.begun.append(FakeSpan(trace_id, parent, name, dict(attributes)))
        return self.begun[-1]


def tracing(spans: FakeSpans, sample: float = 0.0, most: int = 1000) -> Tracing:
    settings = TracingSettings(sample=sample, max_per_second=most)
    return Tracing(settings, spans, lambda: 0.5, lambda: 7.0)


@pytest.fixture
def up() -> Iterator[Upstream]:
    """Answers; hangs up where that is asked for."""

    def handle(request: Received) -> None:
        if b"cut" in request.target:
            request.hang_up()
        else:
            request.reply(b"fine")

    with upstream(handle) as running:
        yield running


def said(request: Received) -> dict[str, list[str]]:
    """The trace that the upstream was told of."""
    wanted = ("traceparent", "tracestate")
    return {
        name: [value.decode() for key, value in request.headers if key.decode().lower() == name]
        for name in wanted
    }


@pytest.mark.parametrize("shell", ["linerate", "portable"])
def test_who_records_its_trace_gets_a_span(shell: str, up: Upstream) -> None:
    """The upstream's parent is the span; what the caller said besides goes on."""
    spans = FakeSpans()
    look = Onlookers(tracing=tracing(spans))
    with gateway(up.url, settings={"shell": shell}, onlookers=look) as gw:
        for _ in range(3):
            headers = {"Traceparent": SAMPLED, "Tracestate": "a=1", "X-Other": "1"}
            gw.ask("POST", "/v1/x?q=1", b"12", headers)
        gw.idle()
    assert len(spans.begun) == len(up.requests) == 3
    for span, request, record in zip(spans.begun, up.requests, gw.kept.records, strict=True):
        assert said(request) == {
            "traceparent": [f"00-{TRACE}-{'5' * 16}-01"],
            "tracestate": ["a=1"],
        }
        assert request.header(b"x-other") == b"1"
        assert (span.name, span.error, span.parent) == ("POST chat", "", TraceParent(TRACE, PARENT, 1))  # fmt: skip
        assert span.about == {
            "http.request.method": "POST",
            "url.path": "/v1/x",
            "tallygate.route": "chat",
            "tallygate.request_id": record.request_id,
            "tallygate.customer_id": "cust-1",
            "http.request.body.size": 2,
            "http.response.body.size": 4,
            "http.response.status_code": 200,
        }


@pytest.mark.parametrize("shell", ["linerate", "portable"])
@pytest.mark.parametrize("headers", [{}, {"traceparent": UNSAMPLED, "tracestate": "a=1"}, {"traceparent": "00-no", "tracestate": "a=1"}])  # fmt: skip
def test_who_does_not_passes_as_it_came(shell: str, headers: dict[str, str], up: Upstream) -> None:
    """Byte for byte, whatever it says."""
    spans = FakeSpans()
    look = Onlookers(tracing=tracing(spans))
    with gateway(up.url, settings={"shell": shell}, onlookers=look) as gw:
        gw.ask("GET", "/v1/x", headers=headers)
        gw.idle()
    assert spans.begun == []
    assert {name: values[0] for name, values in said(up.requests[0]).items() if values} == headers


@pytest.mark.parametrize("shell", ["linerate", "portable"])
def test_a_share_of_all_is_traced(shell: str, up: Upstream) -> None:
    """Where there is no trace, or none that can be read, one begins here, without its state."""
    spans = FakeSpans()
    look = Onlookers(tracing=tracing(spans, sample=0.51))
    with gateway(up.url, settings={"shell": shell}, onlookers=look) as gw:
        gw.ask("GET", "/v1/x")
        gw.ask("GET", "/v1/x", headers={"traceparent": "00-no", "tracestate": "a=1"})
        gw.idle()
    new = {"traceparent": [f"00-{'4' * 32}-{'5' * 16}-01"], "tracestate": []}
    assert [said(request) for request in up.requests] == [new, new]


@pytest.mark.parametrize("shell", ["linerate", "portable"])
def test_the_access_log_names_the_trace(shell: str, up: Upstream) -> None:
    """Also one that begins here."""
    lines: list[Line] = []
    log = AccessLog(AccessLogSettings(sample=1.0), lambda: 0.0, lambda: 0)
    look = Onlookers(log, tracing(FakeSpans(), sample=1.0))
    with gateway(up.url, settings={"shell": shell}, onlookers=look) as gw:
        gw.ask("GET", "/v1/x")
        gw.idle()
    anyio.run(log.flush, lines.extend)
    assert [line.fields()["trace_id"] for line in lines] == ["4" * 32]


@pytest.mark.parametrize("shell", ["linerate", "portable"])
def test_a_span_says_what_went_wrong(shell: str, up: Upstream) -> None:
    """By the code that the client was told; who is not let in has none."""
    spans = FakeSpans()
    look = Onlookers(tracing=tracing(spans, sample=1.0))
    with gateway(up.url, settings={"shell": shell}, onlookers=look) as gw:
        gw.ask("POST", "/v1/cut", b"1")
        gw.ask("GET", "/v1/x", key="wrong")
        gw.idle()
    (span,) = spans.begun
    assert (span.error, span.about["http.response.status_code"]) == ("upstream_protocol", 502)


def test_a_websocket_is_a_span() -> None:
    """From its handshake to its end; the handshake tells the upstream of it."""
    spans = FakeSpans()
    with (
        talker(echo) as up,
        gateway(up.url, onlookers=Onlookers(tracing=tracing(spans, 1.0))) as gw,
    ):
        with dial(gw) as client:
            client.send("hello")
            client.recv(timeout=10)
        gw.record()
        gw.idle()
    (span,) = spans.begun
    assert (span.error, span.about["http.response.status_code"]) == ("", 101)


@given(st.integers(1, 50), st.integers(0, 200))
def test_strangers_cannot_ask_for_more(most: int, calls: int) -> None:
    """However many callers say that they record their traces."""
    spans = FakeSpans()
    traces = tracing(spans, most=most)
    with_parent = [SAMPLED.encode()]
    passage = _Passage()
    for _ in range(calls):
        traces.begin(with_parent, "GET", "/", passage, "r")  # type: ignore[arg-type]
    assert len(spans.begun) == min(most, calls)


class _Named:
    name = "chat"
    customer_id = "c"


class _Passage:
    route = admitted = _Named()
