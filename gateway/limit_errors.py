"""What a caller is answered who is over a limit: which one, the numbers and their age. Pure.

GatewayError
 ├── PackageUsedUp 402 package_used_up    whose words stand in statuses.py
 ├── RateLimited 429 rate_limited
 ├── TooManyConcurrent 429 too_many_concurrent
 ├── PackageReserved 429 package_reserved
 └── QuotaUnavailable 503 quota_unavailable
"""

from datetime import UTC, datetime
from typing import ClassVar, Final

from gateway.errors import Fields, GatewayError
from gateway.statuses import REFUSALS, Standing

_LONGEST_S: Final = 3600


class PackageUsedUp(GatewayError):
    status, code, message, message_zh, _ = REFUSALS[Standing.USED_UP]


class RateLimited(GatewayError):
    status = 429
    code = "rate_limited"
    message = "You have reached your rate limit. Try again when 'Retry-After' says."
    message_zh = "您已达到速率上限，请在“Retry-After”所示时间后重试。"


class TooManyConcurrent(GatewayError):
    status = 429
    code = "too_many_concurrent"
    message = "Too many of your calls are open at once. Try again when one of them is over."
    message_zh = "您同时进行的调用过多，请在其中一个结束后重试。"


class PackageReserved(GatewayError):
    status = 429
    code = "package_reserved"
    message = "What is left of your package is reserved by calls that are still open. Try again."
    message_zh = "您的套餐包剩余额度已被进行中的调用预留，请稍后重试。"


class QuotaUnavailable(GatewayError):
    status = 503
    code = "quota_unavailable"
    message = "Whether your quota suffices cannot be found out at the moment. Try again."
    message_zh = "暂时无法确认您的额度是否充足，请稍后重试。"
    headers: ClassVar[Fields] = ((b"retry-after", b"1"),)


def over_limit(error: GatewayError, limit: str, retry_s: int, headers: Fields) -> GatewayError:
    """`limit`: its name in the RateLimit header that goes along."""
    error.details = {"limit": limit}
    error.more_headers = (*_after(retry_s), *headers)
    return error


def package_used_up(remaining: int, needed: int, unit: str, as_of_ms: int) -> GatewayError:
    """What the ledger says is left and what the call needs, in the meter's unit."""
    return _numbered(PackageUsedUp(), remaining, needed, unit, as_of_ms)


def package_reserved(remaining: int, needed: int, unit: str, as_of_ms: int) -> GatewayError:
    """The same; the rest is with calls that are open, or on its way to the ledger."""
    error = _numbered(PackageReserved(), remaining, needed, unit, as_of_ms)
    error.more_headers = _after(1)
    return error


def _numbered(
    error: GatewayError, remaining: int, needed: int, unit: str, as_of_ms: int
) -> GatewayError:
    error.details = {
        "remaining": remaining,
        "needed": needed,
        "unit": unit,
        "as_of": _written(as_of_ms) if as_of_ms else None,
    }
    return error


def _after(seconds: int) -> Fields:
    return ((b"retry-after", b"%d" % min(max(1, seconds), _LONGEST_S)),)


def _written(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds")
