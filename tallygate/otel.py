"""Spans by OpenTelemetry's SDK, sent as OTLP over HTTP by a thread of its own. Needs the extra `otel`.

What is not sent yet is bounded: a collector that is slow or away costs spans, never calls.
"""

from typing import Final

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)
from opentelemetry.trace import Span as SdkSpan

from gateway.onlooker_settings import TracingSettings
from gateway.trace_context import TraceParent
from gateway.tracing import Attributes

_QUEUE: Final = 2048
_BATCH: Final = 512
_EVERY_MS: Final = 1000
_EXPORT_S: Final = 2  # to give a batch away; at the end this long for each that is left


class SentSpan:
    """A span that is sent when it ends."""

    def __init__(self, span: SdkSpan) -> None:
        self._span = span
        said = span.get_span_context()
        self.trace_id = f"{said.trace_id:032x}"
        self.span_id = f"{said.span_id:016x}"

    def end(self, attributes: Attributes, error: str) -> None:
        """It is over."""

        self._span.set_attributes(dict(attributes))
        if error:
            self._span.set_attribute("error.type", error)
            self._span.set_status(Status(StatusCode.ERROR))
        self._span.end()


class SentSpans:
    """Makes spans in the name of one process and sends them. Who is sampled was decided before."""

    def __init__(self, settings: TracingSettings, process: str) -> None:
        """Starts the thread."""

        headers = {name: value.get_secret_value() for name, value in settings.headers.items()}
        exporter = OTLPSpanExporter(str(settings.endpoint), headers=headers, timeout=_EXPORT_S)
        about = {"service.name": settings.service_name, "service.instance.id": process}
        self._provider = TracerProvider(
            sampler=ALWAYS_ON, resource=Resource.create(about), shutdown_on_exit=False
        )
        self._provider.add_span_processor(
            BatchSpanProcessor(exporter, _QUEUE, _EVERY_MS, _BATCH, _EXPORT_S * 1000)
        )
        self._tracer = self._provider.get_tracer("tallygate")

    def begin(self, parent: TraceParent | None, name: str, attributes: Attributes) -> SentSpan:
        """A server span; without a parent its trace begins here."""

        span = self._tracer.start_span(
            name, context=_context(parent), kind=SpanKind.SERVER, attributes=dict(attributes)
        )
        return SentSpan(span)

    def close(self) -> None:
        """Send what is left; takes a few seconds where nobody collects."""
        self._provider.shutdown()


def _context(parent: TraceParent | None) -> Context:

    if parent is None:
        return Context()
    trace_id, span_id = int(parent.trace_id, 16), int(parent.parent_id, 16)
    told = SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(parent.flags))
    return set_span_in_context(NonRecordingSpan(told), Context())
