"""The marketplace's time formats, all UTC. Pure."""

import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

_RECORD = re.compile(r"[0-9]{8}T[0-9]{6}Z")
_COMPACT = re.compile(r"[0-9]{14}(?:[0-9]{3})?")

MINUTE_MS: Final = 60_000
HOUR_MS: Final = 60 * MINUTE_MS
DAY_MS: Final = 24 * HOUR_MS


def parse_record_time(text: object) -> int | None:
    """`20220809T080000Z` (spec §7.1, and X-Sdk-Date of §7.6) in ms; None when it is anything else."""
    return _record_time(text) if isinstance(text, str) else None


def parse_compact_time(text: object) -> int | None:
    """`yyyyMMddHHmmss` with or without milliseconds (spec §2.7, §2.8) in ms, else None."""
    if not isinstance(text, str) or not _COMPACT.fullmatch(text):
        return None
    whole = _milliseconds(text[:14])
    return None if whole is None else whole + int(text[14:] or "0")


def format_record_time(at_ms: int) -> str:
    """`20220809T080000Z`; what is below a second is dropped."""
    return _moment(at_ms).strftime("%Y%m%dT%H%M%SZ")


def format_compact_time(at_ms: int) -> str:
    """`yyyyMMddHHmmss`; what is below a second is dropped."""
    return _moment(at_ms).strftime("%Y%m%d%H%M%S")


def license_time(at_ms: int) -> str:
    """`2023-10-27 10:30:15 z`, UTC, as the example of getLicenseAsync has it (spec §4.1)."""
    return _moment(at_ms).strftime("%Y-%m-%d %H:%M:%S z")


def _moment(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms // 1000, UTC)


@lru_cache(maxsize=4096)  # the records of an hour share their times
def _record_time(text: str) -> int | None:
    return _milliseconds(text[:8] + text[9:15]) if _RECORD.fullmatch(text) else None


def _milliseconds(digits: str) -> int | None:
    try:
        moment = datetime.strptime(digits, "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return None
    return int(moment.timestamp()) * 1000
