"""The dashboards of what is used and billed."""

from deploy.grafana.questions import MONEY_AT_RISK, OR_NOTHING, STATES, USED, rate
from deploy.grafana.shapes import Board, Row, panel, stack, stat

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
                panel("By meter", USED, "{{meter}}"),
                stack(
                    "Readings by grade", rate("gateway_usage_total", "grade"), "{{grade}}", "ops"
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
                stack("Records by state", STATES, "{{state}}"),
                panel("Oldest unpushed", "max(billing_sync_unpushed_age_seconds)", "", "s"),
                panel(
                    "Pushes",
                    "sum by (outcome) (rate(billing_sync_pushes_total[$__rate_interval]))"
                    + OR_NOTHING,
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
                panel("Money in them", MONEY_AT_RISK + OR_NOTHING, "{{currency}}"),
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
                    + OR_NOTHING,
                    "{{loop}} {{reason}}",
                ),
                panel("Redis away", "max by (instance) (gateway_store_down)", "{{instance}}"),
                panel("Partitions stuck", "max(billing_sync_stuck_partitions)"),
            ),
        ),
    ),
)
