"""Where each figure of `tallygate top` is read: the names of metrics stand here and nowhere else. Pure.

A metric that a process does not show makes its figure unknown, not zero.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

WORKER_METRICS: Final = "/-/metrics?of=worker"  # of this worker alone, where it knows of others
WORKER_JOURNAL: Final = "/-/journal"
CONTROL_METRICS: Final = "/metrics"
CONTROL_HEALTH: Final = "/healthz"
USAGE: Final = "/api/v1/usage"


class Metric(NamedTuple):
    """The sum of a metric's samples with these labels."""

    name: str
    labels: Mapping[str, str] = {}


# Of each worker; these only grow, and are shown per second.
COUNTED: Final[Mapping[str, Metric]] = {
    "calls": Metric("gateway_requests_total"),
    "errors": Metric("gateway_requests_total", {"code": "5xx"}),
    "refused": Metric("gateway_refusals_total"),
    "tokens": Metric("gateway_usage_quantity_total", {"meter": "tokens_total"}),
    "bytes": Metric("gateway_bytes_total"),
    "uncounted": Metric("gateway_uncounted_total"),
}
# Of each worker, as they are now.
NOW: Final[Mapping[str, Metric]] = {
    "open": Metric("gateway_open_exchanges"),
    "streams": Metric("gateway_streams_open"),
    "journal_age_s": Metric("gateway_journal_unbooked_age_seconds"),
    "redis_lag_s": Metric("gateway_apply_lag_seconds"),
    "redis_down": Metric("gateway_store_down"),
    "replaying": Metric("gateway_partitions_behind"),
}
# Of the control plane.
LEDGER: Final[Mapping[str, Metric]] = {
    "ledger_lag_s": Metric("billing_sync_ledger_lag_seconds"),
    "windows_open": Metric("billing_sync_windows_open"),
    "closed_ago_s": Metric("billing_sync_watermark_age_seconds"),
    "oldest_unpushed_s": Metric("billing_sync_unpushed_age_seconds"),
    "ledger_up": Metric("billing_sync_ledger_up"),
    "stopped": Metric("billing_sync_stopped"),
    "stuck_partitions": Metric("billing_sync_stuck_partitions"),
    "silent_lanes": Metric("billing_sync_silent_lanes"),
    "alerts_given_up": Metric("billing_sync_alerts_given_up_total"),
}
# Of the control plane, one figure for each value of the label.
BY_LABEL: Final[Mapping[str, tuple[str, str]]] = {
    "records": ("billing_sync_outbox", "state"),
    "deadlines_s": ("billing_sync_deadline_seconds", "deadline"),
    "missed": ("billing_sync_deadline_missed_records", "deadline"),
    "alerts": ("billing_sync_alerts", "threshold"),
}
