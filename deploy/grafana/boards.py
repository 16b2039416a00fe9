"""The dashboards: what is asked of Prometheus, and under which heading it stands.

Facts of the ledger are said by every control plane alike, so they are taken with max. What has no
series while nothing of its kind happened is shown as 0.
"""

from deploy.grafana.shapes import Board, Panel, Row, panel, quantiles, stack, stat

_OR_NOTHING = " or vector(0)"
_CODES = "sum by (code) (rate(gateway_requests_total[$__rate_interval]))"
_ERRORS = (
    'sum(rate(gateway_requests_total{code="5xx"}[$__rate_interval])) / '
    "sum(rate(gateway_requests_total[$__rate_interval]))" + _OR_NOTHING
)
_STATES = "max by (state) (billing_sync_outbox)"
_USED = "max by (meter) (rate(billing_sync_usage_total[$__rate_interval]))"
_DIFFERENCE = "sum(max by (meter) (billing_sync_reconciliation_difference))"
_SHARE_LEFT = (
    "max by (package, customer, item) (billing_sync_package_left_units) / "
    "max by (package, customer, item) (billing_sync_package_quota_units)"
)
_MONEY_AT_RISK = "sum by (currency) (max by (deadline, currency) (billing_sync_deadline_money))"


def _rate(metric: str, by: str) -> str:
    """How often a second, of all gateways."""
    return f"sum by ({by}) (rate({metric}[$__rate_interval]))"


def _top(meter: str) -> str:
    used = f'billing_sync_customer_usage_total{{meter="{meter}"}}'
    return f"topk(10, max by (customer) (rate({used}[$__rate_interval])))"


OVERVIEW = Board(
    "overview",
    "Overview",
    (
        Row(
            "Now",
            (
                stat("Requests", "sum(rate(gateway_requests_total[$__rate_interval]))", "reqps"),
                stat("Errors", _ERRORS, "percentunit"),
                stat("Open", "sum(gateway_open_exchanges)"),
                stat("Ledger lag", "min(billing_sync_ledger_lag_seconds)", "s"),
                stat("Oldest unpushed", "max(billing_sync_unpushed_age_seconds)", "s"),
                stat("Records at risk", "sum(max by (deadline) (billing_sync_deadline_records))"),
                stat(
                    "Difference", _DIFFERENCE, why="What the last reconciliation left unexplained."
                ),
                stat("Billing stopped", "max(billing_sync_stopped)"),
            ),
        ),
        Row(
            "Lately",
            (
                stack("Replies", _CODES, "{{code}}", "reqps"),
                quantiles("Time of requests", "gateway_request_seconds", "route", 0.5, 0.99),
                panel("Usage", _USED, "{{meter}}"),
                stack("Records", _STATES, "{{state}}"),
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
                stack("By route", _rate("gateway_requests_total", "route"), "{{route}}", "reqps"),
                stack("By status", _CODES, "{{code}}", "reqps"),
                panel(
                    "The gateway's own answers",
                    _rate("gateway_refusals_total", "code") + _OR_NOTHING,
                    "{{code}}",
                    "reqps",
                ),
                panel("Bytes", _rate("gateway_bytes_total", "direction"), "{{direction}}", "Bps"),
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
                    _rate("gateway_disconnects_total", "route") + _OR_NOTHING,
                    "{{route}}",
                ),
                panel(
                    "Over a limit",
                    _rate("gateway_limit_refusals_total", "limit") + _OR_NOTHING,
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
                    _rate("gateway_upstream_errors_total", "route, kind") + _OR_NOTHING,
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
                        (_rate("gateway_upstream_retries_total", "route"), "{{route}} tried again"),
                        (_rate("gateway_upstream_ejections_total", "route"), "{{route}} taken out"),
                    ),
                ),
            ),
        ),
    ),
)

USAGE = Board(
    "usage-and-revenue",
    "Usage and revenue",
    (
        Row(
            "In this time",
            (
                stat(
                    "Requests",
                    'max(increase(billing_sync_usage_total{meter="requests"}[$__range]))',
                ),
                stat(
                    "Tokens",
                    'max(increase(billing_sync_usage_total{meter="tokens_total"}[$__range]))',
                ),
                stat("Records", "sum(max by (product, packaged) (billing_sync_records_total))"),
                stat(
                    "Revenue so far (estimate)",
                    "sum by (currency) (max by (product, currency) (billing_sync_revenue_estimate_total))",
                    why="Pay-per-use records of products with a fixed price.",
                ),
            ),
        ),
        Row(
            "Usage",
            (
                panel("By meter", _USED, "{{meter}}"),
                stack(
                    "Readings by grade", _rate("gateway_usage_total", "grade"), "{{grade}}", "ops"
                ),
                panel(
                    "Billing units recorded",
                    "max by (product, packaged) (billing_sync_record_units_total)",
                    "{{product}} packaged: {{packaged}}",
                ),
                panel(
                    "Revenue (estimate)",
                    "max by (product, currency) (billing_sync_revenue_estimate_total)",
                    "{{product}} {{currency}}",
                ),
            ),
        ),
    ),
)

PIPELINE = Board(
    "billing-pipeline",
    "Billing pipeline",
    (
        Row(
            "Journal to ledger",
            (
                panel(
                    "Redis lacks",
                    "max by (instance) (gateway_apply_lag_seconds)",
                    "{{instance}}",
                    "s",
                ),
                panel("The ledger lacks", "min(billing_sync_ledger_lag_seconds)", "", "s"),
                panel(
                    "Oldest record not in the ledger",
                    "max(gateway_journal_unbooked_age_seconds)",
                    "",
                    "s",
                ),
                panel(
                    "Drains", "sum(rate(billing_sync_drains_total[$__rate_interval]))", "", "ops"
                ),
            ),
        ),
        Row(
            "Windows and records",
            (
                panel("Hours not closed", "min(billing_sync_windows_open)"),
                stack("Records by state", _STATES, "{{state}}"),
                panel("Oldest unpushed", "max(billing_sync_unpushed_age_seconds)", "", "s"),
                panel(
                    "Pushes",
                    "sum by (outcome) (rate(billing_sync_pushes_total[$__rate_interval]))"
                    + _OR_NOTHING,
                    "{{outcome}}",
                ),
            ),
        ),
        Row(
            "At risk",
            (
                panel(
                    "Records near a deadline",
                    "max by (deadline) (billing_sync_deadline_records)",
                    "{{deadline}}",
                ),
                panel(
                    "Billing units in them",
                    "max by (deadline) (billing_sync_deadline_units)",
                    "{{deadline}}",
                ),
                panel("Money in them", _MONEY_AT_RISK + _OR_NOTHING, "{{currency}}"),
                panel(
                    "Too late",
                    "max by (deadline) (billing_sync_deadline_missed_records)",
                    "{{deadline}}",
                ),
            ),
        ),
        Row(
            "Trouble",
            (
                panel("Billing stopped", "max(billing_sync_stopped)"),
                panel(
                    "Loops that failed",
                    "sum by (loop, reason) (rate(billing_sync_failures_total[$__rate_interval]))"
                    + _OR_NOTHING,
                    "{{loop}} {{reason}}",
                ),
                panel("Redis away", "max by (instance) (gateway_store_down)", "{{instance}}"),
                panel("Partitions stuck", "max(billing_sync_stuck_partitions)"),
            ),
        ),
    ),
)

QUALITY = Board(
    "quality-and-proof",
    "Quality and proof",
    (
        Row(
            "Proof",
            (
                stat("Difference", _DIFFERENCE),
                stat("Exact", "max(billing_sync_reconciliation_exact)"),
                stat(
                    "Reconciled before",
                    "time() - max(billing_sync_reconciliation_timestamp_seconds)",
                    "s",
                ),
                stat("Replies cut unrecorded", "sum(gateway_uncounted_total)"),
            ),
        ),
        Row(
            "Grades",
            (
                stack(
                    "Usage by grade",
                    "max by (grade) (rate(billing_sync_usage_total[$__rate_interval]))",
                    "{{grade}}",
                ),
                panel(
                    "Replies without expected usage",
                    _rate("gateway_usage_missing_total", "route") + _OR_NOTHING,
                    "{{route}}",
                ),
                panel(
                    "Records by outcome", _rate("gateway_records_total", "outcome"), "{{outcome}}"
                ),
                panel("Ids that came again", "sum(rate(gateway_repeats_total[$__rate_interval]))"),
            ),
        ),
        Row(
            "On no bill",
            (
                panel("Findings", "max by (kind) (billing_sync_findings)", "{{kind}}"),
                panel(
                    "Suspense",
                    "max by (product) (billing_sync_suspense)" + _OR_NOTHING,
                    "{{product}}",
                ),
                panel(
                    "Buckets",
                    "max by (bucket) (billing_sync_unbilled_usage)" + _OR_NOTHING,
                    "{{bucket}}",
                ),
                panel("Usage without a product", "max(billing_sync_unrecorded)"),
            ),
        ),
        Row(
            "Journal",
            (
                panel("Size", "max by (instance) (gateway_journal_bytes)", "{{instance}}", "bytes"),
                panel(
                    "Room", "min by (instance) (gateway_disk_free_bytes)", "{{instance}}", "bytes"
                ),
                panel("Records", "sum(rate(gateway_journal_records_total[$__rate_interval]))"),
                panel("Writable", "min by (instance) (gateway_journal_writable)", "{{instance}}"),
            ),
        ),
    ),
)

LIFECYCLE = Board(
    "lifecycle",
    "Lifecycle",
    (
        Row(
            "Callbacks",
            (
                stack(
                    "By activity",
                    "sum by (activity) (rate(billing_sync_callbacks_total[$__rate_interval]))",
                    "{{activity}}",
                ),
                stack(
                    "By result",
                    "sum by (code) (rate(billing_sync_callbacks_total[$__rate_interval]))",
                    "{{code}}",
                ),
                quantiles("Time", "billing_sync_callback_seconds", "activity", 0.5, 0.99),
                panel(
                    "Entitlements told",
                    "sum(rate(billing_sync_projections_total[$__rate_interval]))",
                ),
            ),
        ),
        Row(
            "What was sold",
            (
                stack(
                    "Instances by status",
                    "sum by (status) (max by (product, kind, status) (billing_sync_instances))",
                    "{{status}}",
                ),
                stack(
                    "Instances by product",
                    "sum by (product) (max by (product, kind, status) (billing_sync_instances))",
                    "{{product}}",
                ),
                panel("Unmapped products", "max(billing_sync_unmapped_products)"),
                panel(
                    "Orders awaited",
                    "max by (kind) (billing_sync_awaited_orders)" + _OR_NOTHING,
                    "{{kind}}",
                ),
            ),
        ),
    ),
)

CUSTOMERS = Board(
    "customers",
    "Customers",
    (
        Row(
            "The busiest, and all others",
            (
                panel("Requests", _top("requests"), "{{customer}}", "reqps"),
                panel("Tokens", _top("tokens_total"), "{{customer}}"),
                panel("Customers known", "max(gateway_entitlements_customers)"),
                panel(
                    "Age of what gateways know of them",
                    "max by (instance) (gateway_entitlements_age_seconds)",
                    "{{instance}}",
                    "s",
                ),
            ),
        ),
        Row(
            "Packages nearest to their end",
            (
                Panel("Left", ((_SHARE_LEFT, "{{customer}} {{item}}"),), "percentunit", "bars"),
                Panel(
                    "Lasts for",
                    (
                        (
                            "bottomk(10, max by (package, customer, item) (billing_sync_package_lasts_seconds))",
                            "{{customer}} {{item}}",
                        ),
                    ),
                    "s",
                    "bars",
                ),
                stat("Packages", "max(billing_sync_packages)"),
                panel(
                    "Alerts on their way",
                    "max by (state) (billing_sync_alert_deliveries)",
                    "{{state}}",
                ),
            ),
        ),
    ),
)

BOARDS = (OVERVIEW, TRAFFIC, USAGE, PIPELINE, QUALITY, LIFECYCLE, CUSTOMERS)
