"""Reads the parameters of the operator's API. Pure; raises BadQuestion, which names the parameter."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

from starlette.datastructures import QueryParams

from billing_sync.errors import BadQuestion
from billing_sync.questions import DIMENSIONS, EVERY_ROW, UsageFilter
from metering.windows import HOUR_MS

_MOST_LISTED: Final = 1000
_LISTED: Final = 100
_LONGEST: Final = 256


class Page(NamedTuple):
    """Which part of a list is wanted: `limit` rows after the one with id `after`."""

    customer_id: str | None
    instance_id: str | None
    state: str | None
    after: str | None
    limit: int


class KeyPage(NamedTuple):
    """Which API keys are wanted: `limit` of them after the one with id `after`."""

    customer_id: str | None
    after: int | None
    limit: int


class TenantPage(NamedTuple):
    """Which tenants are wanted: `limit` of them behind the first `skip`."""

    instance_id: str | None
    skip: int
    limit: int


class SuspensePage(NamedTuple):
    """Which part of the suspense is wanted: `limit` rows behind the first `skip`. Windows are half-open."""

    customer_id: str | None
    product_id: str | None
    from_window: int | None
    to_window: int | None
    by_hour: bool
    skip: int
    limit: int


class FindingPage(NamedTuple):
    """Which findings are wanted: `limit` of them after the one with number `after`."""

    kind: str | None
    lane: str | None
    customer_id: str | None
    request_id: str | None
    after: int | None
    limit: int


def usage_question(asked: QueryParams) -> UsageFilter:
    """`/api/v1/usage?customer=&instance=&meter=&from=&to=&by=`."""
    _check(asked, ("customer", "instance", "meter", "from", "to", "by"))
    first, end = span_of(asked.get("from"), asked.get("to"))
    return UsageFilter(
        customer_id=asked.get("customer"),
        instance_id=asked.get("instance"),
        meter=asked.get("meter"),
        from_window=first,
        to_window=end,
        by=_by(asked),
    )


def span_of(first: str | None, end: str | None) -> tuple[int | None, int | None]:
    """The windows [first, end) of two ISO 8601 times; the hour that has begun before `end` is in it."""
    from_ms, to_ms = _time("from", first), _time("to", end)
    if from_ms is not None and to_ms is not None and from_ms > to_ms:
        raise BadQuestion("from is later than to")
    return (
        None if from_ms is None else from_ms // HOUR_MS,
        None if to_ms is None else -(-to_ms // HOUR_MS),
    )


def suspense_question(asked: QueryParams) -> SuspensePage:
    """`/api/v1/suspense?customer=&product=&from=&to=&by=hour&after=&limit=`."""
    _check(asked, ("customer", "product", "from", "to", "by", "after", "limit"))
    if asked.get("by") not in (None, "hour"):
        raise BadQuestion("by can only be hour")
    return SuspensePage(
        asked.get("customer"),
        asked.get("product"),
        *span_of(asked.get("from"), asked.get("to")),
        by_hour=asked.get("by") == "hour",
        skip=_number(asked.get("after")) or 0,
        limit=_limit(asked.get("limit")),
    )


def page_question(asked: QueryParams, *, by_state: bool) -> Page:
    """`?customer=&instance=&state=&after=&limit=` of a list."""
    names = ("customer", "instance", "after", "limit")
    _check(asked, (*names, "state") if by_state else names)
    return Page(
        asked.get("customer"),
        asked.get("instance"),
        asked.get("state"),
        asked.get("after"),
        _limit(asked.get("limit")),
    )


def key_question(asked: QueryParams) -> KeyPage:
    """`/api/v1/keys?customer=&after=&limit=`."""
    _check(asked, ("customer", "after", "limit"))
    return KeyPage(asked.get("customer"), _number(asked.get("after")), _limit(asked.get("limit")))


def tenant_question(asked: QueryParams) -> TenantPage:
    """`/api/v1/tenants?instance=&after=&limit=`."""
    _check(asked, ("instance", "after", "limit"))
    skip = _number(asked.get("after")) or 0
    return TenantPage(asked.get("instance"), skip, _limit(asked.get("limit")))


def finding_question(asked: QueryParams) -> FindingPage:
    """`/api/v1/findings?kind=&lane=&customer=&request=&after=&limit=`."""
    _check(asked, ("kind", "lane", "customer", "request", "after", "limit"))
    return FindingPage(
        asked.get("kind"),
        asked.get("lane"),
        asked.get("customer"),
        asked.get("request"),
        _number(asked.get("after")),
        _limit(asked.get("limit")),
    )


def _check(asked: QueryParams, known: Sequence[str]) -> None:
    """Every parameter is known, given once, and neither empty nor endless."""
    for name, value in asked.multi_items():
        if name not in known:
            raise BadQuestion(f"{_short(name)} is unknown; known are {', '.join(known)}")
        if len(asked.getlist(name)) > 1:
            raise BadQuestion(f"{name} is given twice")
        if not value or len(value) > _LONGEST or not value.isprintable():
            raise BadQuestion(f"{name} must be 1 to {_LONGEST} printable characters")


def _by(asked: QueryParams) -> frozenset[str]:
    text = asked.get("by")
    if text is None:
        return EVERY_ROW
    by = frozenset(text.split(","))
    if unknown := sorted(by - set(DIMENSIONS)):
        raise BadQuestion(f"by={_short(unknown[0])} is unknown; known are {', '.join(DIMENSIONS)}")
    return by


def _number(after: str | None) -> int | None:
    if after is None:
        return None
    if after.isascii() and after.isdigit() and len(after) < 19:
        return int(after)
    raise BadQuestion("after is no number; take `next` of the page before")


def _time(name: str, text: str | None) -> int | None:
    """UTC ms of an ISO 8601 time; one without a zone is UTC."""
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise BadQuestion(
            f"{name}={_short(text)} is not a time; write one as 2026-01-31T13:00:00Z"
        ) from None
    aware = time if time.tzinfo else time.replace(tzinfo=UTC)
    return int(aware.timestamp() * 1000)


def _limit(text: str | None) -> int:
    if text is None:
        return _LISTED
    if text.isascii() and text.isdigit() and len(text) < 6 and 1 <= int(text) <= _MOST_LISTED:
        return int(text)
    raise BadQuestion(f"limit={_short(text)} is not a number from 1 to {_MOST_LISTED}")


def _short(text: str) -> str:
    return repr(text[:40])
