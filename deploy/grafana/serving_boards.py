"""The dashboards of what is served."""

from deploy.grafana.questions import CODES, DIFFERENCE, ERRORS, OR_NOTHING, STATES, USED, rate
from deploy.grafana.shapes import Board, Panel, Row, panel, quantiles, stack, stat

OVERVIEW = Board(
    "overview",
    "Overview",
    (
        Row(
            "Now",
            (
                stat("Requests", "sum(rate(gateway_requests_total[$__rate_interval]))", "reqps"),
                stat("Errors", ERRORS, "percentunit"),
                stat("Open", "sum(gateway_open_exchanges)"),
                stat("Ledger lag", "min(billing_sync_ledger_lag_seconds)", "s"),
                stat("Oldest unpushed", "max(billing_sync_unpushed_age_seconds)", "s"),
                stat("Records at risk", "sum(max by (deadline) (billing_sync_deadline_records))"),
                stat(
                    "Difference", DIFFERENCE, why="What the last reconciliation left unexplained."
                ),
                stat("Billing stopped", "max(billing_sync_stopped)"),
            ),
        ),
        Row(
            "Lately",
            (
                stack("Replies", CODES, "{{code}}", "reqps"),
                quantiles("Time of requests", "gateway_request_seconds", "route", 0.5, 0.99),
                panel("Usage", USED, "{{meter}}"),
                stack("Records", STATES, "{{state}}"),
            ),
        ),
    ),
)


TRAFFIC = Board(
    "traffic",
    "Traffic",
    (
        Row(
            "Replies",
            (
                stack("By route", rate("gateway_requests_total", "route"), "{{route}}", "reqps"),
                stack("By status", CODES, "{{code}}", "reqps"),
                panel(
                    "The gateway's own answers",
                    rate("gateway_refusals_total", "code") + OR_NOTHING,
                    "{{code}}",
                    "reqps",
                ),
                panel("Bytes", rate("gateway_bytes_total", "direction"), "{{direction}}", "Bps"),
            ),
        ),
        Row(
            "Time",
            (
                quantiles("Requests", "gateway_request_seconds", "route", 0.5, 0.9, 0.99),
                quantiles("First byte", "gateway_first_byte_seconds", "route", 0.5, 0.99),
                quantiles("Upstream's head", "gateway_upstream_seconds", "route", 0.5, 0.99),
                quantiles("The gateway's own part", "gateway_overhead_seconds", "route", 0.5, 0.99),
            ),
        ),
        Row(
            "Under way",
            (
                Panel(
                    "Open",
                    (
                        ("sum(gateway_open_exchanges)", "exchanges"),
                        ("sum(gateway_streams_open)", "streams"),
                        ("sum(gateway_drains_active)", "read on for nobody"),
                    ),
                ),
                panel(
                    "Clients that left",
                    rate("gateway_disconnects_total", "route") + OR_NOTHING,
                    "{{route}}",
                ),
                panel(
                    "Over a limit",
                    rate("gateway_limit_refusals_total", "limit") + OR_NOTHING,
                    "{{limit}}",
                ),
                panel("Workers", "sum(gateway_workers)"),
            ),
        ),
        Row(
            "Upstreams",
            (
                panel("Healthy", "min by (route) (gateway_upstreams_healthy)", "{{route}}"),
                panel(
                    "Failures",
                    rate("gateway_upstream_errors_total", "route, kind") + OR_NOTHING,
                    "{{route}} {{kind}}",
                ),
                panel(
                    "Connections",
                    "sum by (upstream) (gateway_upstream_connections)",
                    "{{upstream}}",
                ),
                Panel(
                    "Second tries and ejections",
                    (
                        (rate("gateway_upstream_retries_total", "route"), "{{route}} tried again"),
                        (rate("gateway_upstream_ejections_total", "route"), "{{route}} taken out"),
                    ),
                ),
            ),
        ),
    ),
)
