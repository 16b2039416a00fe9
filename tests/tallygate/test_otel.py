from pydantic import SecretStr

from gateway.onlooker_settings import TracingSettings
from gateway.trace_context import TraceParent
from tallygate.otel import SentSpans
from tests.tallygate.collecting_spans import attributes, collector

PARENT = TraceParent("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", 1)


def test_spans_reach_their_collector() -> None:
    """With their parents, what was said of them, and what went wrong."""
    with collector() as collected:
        told = {"endpoint": collected.url, "headers": {"x-token": SecretStr("t0ken")}}
        spans = SentSpans(TracingSettings.model_validate(told), "gateway-1")
        first = spans.begin(PARENT, "POST chat", {"tallygate.route": "chat"})
        first.end({"http.response.status_code": 200}, "")
        second = spans.begin(None, "GET chat", {})
        second.end({}, "upstream_timeout")
        spans.close()
        one, two = collected.spans
    assert collected.services == {"tallygate gateway-1"}
    assert set(collected.headers) == {b"t0ken"}
    assert (one.trace_id.hex(), one.span_id.hex()) == (first.trace_id, first.span_id)
    assert (one.trace_id.hex(), one.parent_span_id.hex()) == PARENT[:2]
    assert (one.name, one.kind, one.status.code) == ("POST chat", 2, 0)
    assert attributes(one) == {"tallygate.route": "chat", "http.response.status_code": 200}
    assert 0 < one.start_time_unix_nano <= one.end_time_unix_nano
    assert (two.parent_span_id, two.status.code) == (b"", 2)
    assert attributes(two) == {"error.type": "upstream_timeout"}


def test_a_collector_that_is_away_costs_no_call() -> None:
    """Thousands of spans end at once; what does not fit is dropped."""
    settings = TracingSettings.model_validate({"endpoint": "http://127.0.0.1:1/v1/traces"})
    spans = SentSpans(settings, "gateway")
    for _ in range(5000):
        spans.begin(None, "GET chat", {}).end({}, "")
    spans.close()  # its thread draws random pauses, which disturbs other tests' examples
