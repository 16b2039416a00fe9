"""The dashboards of how good the numbers are, of what was sold, and of customers."""

from deploy.grafana.questions import DIFFERENCE, OR_NOTHING, SHARE_LEFT, rate, top
from deploy.grafana.shapes import Board, Panel, Row, panel, quantiles, stack, stat

QUALITY = Board(
    "quality-and-proof",
    "Quality and proof",
    (
        Row(
            "Proof",
            (
                stat("Difference", DIFFERENCE),
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
                    rate("gateway_usage_missing_total", "route") + OR_NOTHING,
                    "{{route}}",
                ),
                panel(
                    "Records by outcome", rate("gateway_records_total", "outcome"), "{{outcome}}"
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
                    "max by (product) (billing_sync_suspense)" + OR_NOTHING,
                    "{{product}}",
                ),
                panel(
                    "Buckets",
                    "max by (bucket) (billing_sync_unbilled_usage)" + OR_NOTHING,
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
                    "max by (kind) (billing_sync_awaited_orders)" + OR_NOTHING,
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
                panel("Requests", top("requests"), "{{customer}}", "reqps"),
                panel("Tokens", top("tokens_total"), "{{customer}}"),
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
                Panel("Left", ((SHARE_LEFT, "{{customer}} {{item}}"),), "percentunit", "bars"),
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
