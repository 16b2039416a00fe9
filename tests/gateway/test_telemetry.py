"""What Prometheus is told."""

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from gateway.telemetry import NO_ROUTE, Telemetry
from metering.usage import Account, Grade, Outcome, Quantity, UsageRecord


def shown(telemetry: Telemetry, name: str, **labels: str) -> float | None:
    """One sample as it is shown, None when it is not there."""
    return telemetry.registry().get_sample_value(f"gateway_{name}", labels)


def record(**quantities: Quantity) -> UsageRecord:
    """A record of one exchange."""
    return UsageRecord("id", 1, Account("cust-1", "chat"), 200, Outcome.COMPLETE, quantities)


def test_a_record_counts_readings_and_quantities() -> None:
    """Readings by grade, quantities by meter, and whether something expected was missing."""
    telemetry = Telemetry()
    telemetry.recorded(record(tokens_in=Quantity(3), tokens_out=Quantity(0, Grade.MISSING)))
    telemetry.recorded(record(tokens_in=Quantity(4)))
    assert shown(telemetry, "records_total", outcome="complete") == 2
    assert shown(telemetry, "usage_total", meter="tokens_in", grade="exact") == 2
    assert shown(telemetry, "usage_total", meter="tokens_out", grade="missing") == 1
    assert shown(telemetry, "usage_quantity_total", meter="tokens_in") == 7
    assert shown(telemetry, "usage_missing_total", route="chat") == 1


def test_replies_and_refusals_are_told_apart() -> None:
    """A refusal is also a reply."""
    telemetry = Telemetry()
    telemetry.answered("chat", 200)
    telemetry.refused(NO_ROUTE, 404, "unknown_route")
    assert shown(telemetry, "requests_total", route="chat", code="2xx") == 1
    assert shown(telemetry, "requests_total", route="-", code="4xx") == 1
    assert shown(telemetry, "refusals_total", code="unknown_route") == 1


def test_everything_is_shown_from_the_start() -> None:
    """All families exist before the first request, numbers without labels stand at zero."""
    text = generate_latest(Telemetry().registry()).decode()
    families = {family.name for family in text_string_to_metric_families(text)}
    assert families == {
        "gateway_requests",
        "gateway_refusals",
        "gateway_bytes",
        "gateway_usage",
        "gateway_usage_quantity",
        "gateway_usage_missing",
        "gateway_disconnects",
        "gateway_records",
        "gateway_upstream_errors",
        "gateway_uncounted",
        "gateway_drains_capped",
        "gateway_drains_active",
        "gateway_open_exchanges",
        "gateway_streams_open",
        "gateway_upstream_seconds",
        "gateway_request_seconds",
        "gateway_first_byte_seconds",
        "gateway_overhead_seconds",
        "gateway_build_info",
    }
    assert shown(Telemetry(), "open_exchanges") == 0


def test_the_upstreams_time_is_shown_by_route() -> None:
    """With the count Prometheus derives from the last bucket."""
    telemetry = Telemetry()
    telemetry.upstream_answered("chat", 0.2)
    assert shown(telemetry, "upstream_seconds_count", route="chat") == 1
    assert shown(telemetry, "upstream_seconds_sum", route="chat") == 0.2
    assert shown(telemetry, "upstream_seconds_bucket", route="chat", le="0.1") == 0
    assert shown(telemetry, "upstream_seconds_bucket", route="chat", le="0.25") == 1


def test_a_reply_that_went_out_at_once_has_one_time() -> None:
    """Its first byte went with its last."""
    telemetry = Telemetry()
    telemetry.of("chat").usual(0.2)
    telemetry.began("chat", 0.1)
    telemetry.over("chat", "r", 0.4)
    assert shown(telemetry, "request_seconds_sum", route="chat") == pytest.approx(0.6)
    assert shown(telemetry, "first_byte_seconds_sum", route="chat") == pytest.approx(0.3)
    assert shown(telemetry, "request_seconds_count", route="chat") == 2
    assert shown(telemetry, "upstream_seconds_count", route="chat") == 1
