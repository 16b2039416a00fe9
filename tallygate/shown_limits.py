"""The limits of the gateways, in the words that the control plane shows customers. Pure."""

from billing_sync.shown_limits import ShownLimit
from gateway.limit_settings import Limits


def shown_limits(limits: Limits, customer_id: str) -> list[ShownLimit]:
    """Those of a customer over all his keys and routes; none while they are only watched."""
    if limits.shadow:
        return []
    limit = limits.of_customer(customer_id)
    found: list[ShownLimit] = []
    if limit.requests_per_second is not None:
        found.append(ShownLimit("requests_per_second", f"{limit.requests_per_second:g}"))
    if limit.tokens_per_minute is not None:
        found.append(ShownLimit("tokens_per_minute", str(limit.tokens_per_minute)))
    if limit.concurrent is not None:
        found.append(ShownLimit("concurrent", str(limit.concurrent)))
    return found
