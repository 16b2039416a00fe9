"""What is asked of an API key: for whom, for how long, for which routes. Pure; raises BadQuestion."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

from billing_sync.errors import BadQuestion

NEVER: Final = "never"
OVERLAP: Final = "24h"
_UNIT_MS: Final = {"s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_DURATION: Final = re.compile(r"(\d{1,6})([smhd])", re.ASCII)
_LONGEST: Final = 64  # of names and ids
_MOST_ROUTES: Final = 50
_LATEST_MS: Final = 253_402_300_799_999  # the end of the year 9999 (UTC)


class KeyAsked(NamedTuple):
    """A new key. `expires` UTC ms, 0 for never; no routes for all; `deliver`: through appInfo."""

    customer_id: str
    name: str = ""
    expires: int = 0
    routes: tuple[str, ...] = ()
    deliver: bool = False


class RotationAsked(NamedTuple):
    """A key in place of another one, which is good for `overlap_ms` more; `expires` None: as that."""

    overlap_ms: int
    expires: int | None = None


def key_asked(
    customer_id: str,
    name: str,
    expires: str | None,
    routes: Sequence[str],
    now_ms: int,
    *,
    deliver: bool,
) -> KeyAsked:
    """What a person asked for, checked."""
    _check_text("customer_id", customer_id)
    if name:
        _check_text("name", name)
    if len(routes) > _MOST_ROUTES:
        raise BadQuestion(f"a key can be for {_MOST_ROUTES} routes; leave them out for all")
    for route in routes:
        _check_text("routes", route)
    end = expiry_of(expires or NEVER, now_ms)
    return KeyAsked(customer_id, name, end, tuple(dict.fromkeys(routes)), deliver)


def rotation_asked(overlap: str | None, expires: str | None, now_ms: int) -> RotationAsked:
    """What a person asked for, checked."""
    end = None if expires is None else expiry_of(expires, now_ms)
    overlap_ms = _duration(OVERLAP if overlap is None else overlap)
    if overlap_ms is None:
        raise BadQuestion("overlap must be a time such as 24h, 90m or 0s")
    return RotationAsked(overlap_ms, end)


def expiry_of(text: str, now_ms: int) -> int:
    """UTC ms of `90d`, `2027-01-31T00:00:00Z` or `never`, which is 0."""
    if text == NEVER:
        return 0
    duration = _duration(text)
    at = _time(text) if duration is None else now_ms + duration
    if at <= now_ms:
        raise BadQuestion("expires is over already; to end a key now, revoke it")
    if at > _LATEST_MS:
        raise BadQuestion("expires is beyond all calendars; write never")
    return at


def status_of(
    now_ms: int, *, expires: int = 0, revoked: int = 0, replaced_by: int | None = None
) -> str:
    """One word for people: `replaced` keys are still good, until they expire."""
    if revoked:
        return "revoked"
    if 0 < expires <= now_ms:
        return "expired"
    return "active" if replaced_by is None else "replaced"


def _check_text(name: str, text: str) -> None:
    if not text or len(text) > _LONGEST or not text.isprintable():
        raise BadQuestion(f"{name} must be 1 to {_LONGEST} printable characters")


def _duration(text: str) -> int | None:
    found = _DURATION.fullmatch(text)
    return int(found[1]) * _UNIT_MS[found[2]] if found else None


def _time(text: str) -> int:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        hint = "write 90d, 2027-01-31T00:00:00Z or never"
        raise BadQuestion(f"expires={text[:40]!r} is not a time; {hint}") from None
    aware = time if time.tzinfo else time.replace(tzinfo=UTC)
    return int(aware.timestamp() * 1000)
