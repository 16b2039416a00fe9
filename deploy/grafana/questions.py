"""What several dashboards ask.

Facts of the ledger are said by every control plane alike, so they are taken with max. What has no
series while nothing of its kind happened is shown as 0.
"""

OR_NOTHING = " or vector(0)"
CODES = "sum by (code) (rate(gateway_requests_total[$__rate_interval]))"
ERRORS = (
    'sum(rate(gateway_requests_total{code="5xx"}[$__rate_interval])) / '
    "sum(rate(gateway_requests_total[$__rate_interval]))" + OR_NOTHING
)
STATES = "max by (state) (billing_sync_outbox)"
USED = "max by (meter) (rate(billing_sync_usage_total[$__rate_interval]))"
DIFFERENCE = "sum(max by (meter) (billing_sync_reconciliation_difference))"
SHARE_LEFT = (
    "max by (package, customer, item) (billing_sync_package_left_units) / "
    "max by (package, customer, item) (billing_sync_package_quota_units)"
)
MONEY_AT_RISK = "sum by (currency) (max by (deadline, currency) (billing_sync_deadline_money))"


def rate(metric: str, by: str) -> str:
    """How often a second, of all gateways."""
    return f"sum by ({by}) (rate({metric}[$__rate_interval]))"


def top(meter: str) -> str:
    used = f'billing_sync_customer_usage_total{{meter="{meter}"}}'
    return f"topk(10, max by (customer) (rate({used}[$__rate_interval])))"
