"""What an attempt to push usage came to: the codes of spec §7.3 judged, by table. Pure."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any, Final, cast

from billing_sync.koogallery.error_codes import RECORDS_REFUSED, Blame, Kind, meaning_of

__all__ = ["Blame", "Kind", "PushOutcome", "classify", "seconds_of"]

_MAX_MESSAGE: Final = 255
_MAX_RETRY_AFTER_S: Final = 3600.0


Place = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class PushOutcome:
    """The judgement of one attempt.

    `abnormal` lists the metering_sn named as bad, if any were, `abnormal_places` the (instance_id,
    begin_time, end_time) of those named without one, as the old interface has none.
    """

    kind: Kind
    code: str = ""
    message: str = ""
    retry_after_s: float | None = None
    blame: Blame = Blame.NOBODY
    abnormal: tuple[str, ...] = ()
    abnormal_places: tuple[Place, ...] = ()


_TRANSIENT_STATUS: Final = frozenset({408, 425})
_TOO_OFTEN: Final = 429


def classify(http_status: int, body: bytes, retry_after_s: float | None = None) -> PushOutcome:
    """Judge a reply. An answer without a code is judged by its HTTP status alone."""
    data = _object(body)
    code = _printable(data.get("error_code"), 64)
    named = _abnormal(data) if code == RECORDS_REFUSED else []
    kind, blame = _by_code(code, http_status) or _by_status(http_status, retry_after_s)
    return PushOutcome(
        kind=kind,
        code=code or f"HTTP {http_status}",
        message=_printable(data.get("error_msg"), _MAX_MESSAGE),
        retry_after_s=retry_after_s,
        blame=blame,
        abnormal=tuple(dict.fromkeys(n for n in named if isinstance(n, str))),
        abnormal_places=tuple(dict.fromkeys(n for n in named if not isinstance(n, str))),
    )


def _printable(given: object, most: int) -> str:
    """Words of somebody else, which must not keep their record from being written down."""
    text = str(given or "")[:most]
    return "".join(character if character.isprintable() else " " for character in text)


def _by_code(code: str, http_status: int) -> tuple[Kind, Blame] | None:
    known = meaning_of(code)
    if known is None:
        return None
    if known.kind is Kind.ACCEPTED and http_status >= 300:
        return Kind.AMBIGUOUS, Blame.NOBODY
    return known.kind, known.blame


def _by_status(status: int, retry_after_s: float | None) -> tuple[Kind, Blame]:
    """Unknown codes, the API gateway's own APIGW.* among them.

    A 5xx may come after the records were stored, and a 2xx without a known code says nothing.
    """
    if status == _TOO_OFTEN:
        return Kind.TRANSIENT, Blame.CALLER
    if status in _TRANSIENT_STATUS or (status == 413 and retry_after_s is not None):
        return Kind.TRANSIENT, Blame.NOBODY
    if status == 413:  # without Retry-After the batch itself is too large (spec §7.6)
        return Kind.PERMANENT, Blame.RECORDS
    if 300 <= status < 500:
        return Kind.PERMANENT, Blame.CALLER
    return Kind.AMBIGUOUS, Blame.NOBODY


def _object(body: bytes) -> dict[str, Any]:
    try:
        data = json.loads(body.decode())
    except (ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}


def _abnormal(data: dict[str, Any]) -> list[str | Place]:
    # The page cuts off before the fields, so any object that names a record counts, at any depth.
    found: list[str | Place] = []
    waiting: list[object] = [data]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            found.extend(_name(item))
            waiting.extend(reversed(item.values()))
        elif isinstance(item, list):
            waiting.extend(reversed(item))
    return found


def _name(item: dict[str, Any]) -> Iterator[str | Place]:
    place = tuple(item.get(key) for key in ("instance_id", "begin_time", "end_time"))
    if isinstance(serial := item.get("metering_sn"), str):
        yield serial
    elif all(isinstance(part, str) for part in place):
        yield cast(Place, place)


def seconds_of(header: str | None, now_ms: int | None = None) -> float | None:
    """Seconds of a Retry-After header (RFC 9110 §10.2.3), at most an hour. A date counts from `now_ms`,
    and without that as absent."""
    if header is None or not header.isascii():
        return None
    if header.isdigit():
        return min(float(header[:10]), _MAX_RETRY_AFTER_S)
    return None if now_ms is None else _seconds_until(header[:64], now_ms)


def _seconds_until(date: str, now_ms: int) -> float | None:
    try:
        at = parsedate_to_datetime(date)
        seconds = int(at.replace(tzinfo=at.tzinfo or UTC).timestamp()) - now_ms // 1000
    except (ValueError, OverflowError):
        return None
    return min(max(float(seconds), 0.0), _MAX_RETRY_AFTER_S)
