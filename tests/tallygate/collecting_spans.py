"""A collector of spans: OTLP over HTTP on a real socket."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.servers import Received, upstream


@dataclass
class Collected:
    """What came, and where to."""

    url: str
    spans: list[Span] = field(default_factory=list)
    services: set[str] = field(default_factory=set)
    headers: list[bytes | None] = field(default_factory=list)


def attributes(span: Span) -> dict[str, str | int]:
    """Of a span, by name."""
    return {each.key: each.value.string_value or each.value.int_value for each in span.attributes}


@contextmanager
def collector() -> Iterator[Collected]:
    """Takes whatever is sent."""
    collected = Collected("")

    def take(request: Received) -> None:
        said = ExportTraceServiceRequest.FromString(request.body)
        collected.headers.append(request.header(b"x-token"))
        for resource in said.resource_spans:
            named = {each.key: each.value.string_value for each in resource.resource.attributes}
            collected.services.add(f"{named['service.name']} {named['service.instance.id']}")
            for scope in resource.scope_spans:
                collected.spans.extend(scope.spans)
        request.reply(b"", b"Content-Type: application/x-protobuf")

    with upstream(take) as running:
        collected.url = f"{running.url}/v1/traces"
        yield collected
