"""Limits as customers are told of them."""

from gateway.limit_settings import Limits
from tallygate.shown_limits import shown_limits

LIMITS = {
    "default": {"requests_per_second": 0.5, "concurrent": 9},
    "customers": {"c": {"concurrent": None, "tokens_per_minute": 1000}},
}


def test_the_customers_own() -> None:
    """Over the default; null lifts it."""
    limits = Limits.model_validate(LIMITS)
    assert shown_limits(limits, "c") == [
        ("requests_per_second", "0.5"),
        ("tokens_per_minute", "1000"),
    ]
    assert shown_limits(limits, "d") == [("requests_per_second", "0.5"), ("concurrent", "9")]


def test_watched_only() -> None:
    """What refuses nobody is not shown."""
    assert shown_limits(Limits.model_validate({**LIMITS, "shadow": True}), "c") == []
