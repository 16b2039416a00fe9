"""What a caller is answered who is over a limit: which one, the numbers and their age. Pure.

GatewayError
 ├── PackageUsedUp 402 package_used_up
 ├── OverLimit 429
 │    ├── RateLimited 429 rate_limited
 │    └── TooManyConcurrent 429 too_many_concurrent
 ├── PackageReserved 429 package_reserved
 └── QuotaUnavailable 503 quota_unavailable
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from gateway.errors import GatewayError, said_of
from gateway.statuses import Standing

_LONGEST_S: Final = 3600


def _after(seconds: int) -> tuple[tuple[bytes, bytes], ...]:
    return ((b"retry-after", b"%d" % min(max(1, seconds), _LONGEST_S)),)


def _written(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds")


class PackageUsedUp(GatewayError):
    status, code, message, message_zh, headers = said_of(Standing.USED_UP)

    def __init__(self, remaining: int, needed: int, unit: str, as_of_ms: int) -> None:
        super().__init__()
        self.details = _numbers(remaining, needed, unit, as_of_ms)


class PackageReserved(GatewayError):
    status = 429
    code = "package_reserved"
    message = "What is left of your prepaid package is reserved by calls that are still open."
    message_zh = "您的套餐包剩余额度已被进行中的调用占用。"

    def __init__(self, remaining: int, needed: int, unit: str, as_of_ms: int) -> None:
        super().__init__()
        self.details = _numbers(remaining, needed, unit, as_of_ms)
        self.more_headers = _after(1)


class OverLimit(GatewayError):
    """`limit`: whose it is, as in the RateLimit header that goes along."""

    status = 429

    def __init__(self, limit: str, retry_s: int, headers: tuple[tuple[bytes, bytes], ...]) -> None:
        super().__init__()
        self.details = {"limit": limit}
        self.more_headers = (*_after(retry_s), *headers)


class RateLimited(OverLimit):
    code = "rate_limited"
    message = "You have reached your rate limit. Try again when 'Retry-After' says."
    message_zh = "您已达到速率限制，请按“Retry-After”给出的时间重试。"


class TooManyConcurrent(OverLimit):
    code = "too_many_concurrent"
    message = "Too many of your calls are open at once. Try again when one of them is over."
    message_zh = "您同时进行的调用过多，请在其中之一结束后重试。"


class QuotaUnavailable(GatewayError):
    status = 503
    code = "quota_unavailable"
    message = "Whether your quota suffices cannot be found out at the moment. Try again."
    message_zh = "暂时无法确认您的额度是否充足，请重试。"

    def __init__(self, retry_s: int = 1) -> None:
        super().__init__()
        self.more_headers = _after(retry_s)


def _numbers(remaining: int, needed: int, unit: str, as_of_ms: int) -> Mapping[str, object]:
    """In the meter's unit."""
    return {
        "remaining": remaining,
        "needed": needed,
        "unit": unit,
        "as_of": _written(as_of_ms) if as_of_ms else None,
    }
