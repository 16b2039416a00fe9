"""How numbers and times are written on pages: exact, never through a float; times in UTC and in the
zone of the site. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import ROUND_DOWN, Context, Decimal, localcontext
from typing import Final

from metering.windows import HOUR_MS

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST_MS: Final = 253_402_300_799_999  # the end of the year 9999
_EXACT: Final = Context(prec=200)
_PLACES: Final = 4
_SIGNS: Final[Mapping[str, str]] = {"CNY": "¥", "USD": "$", "EUR": "€"}
_SPANS: Final = (("day", 86_400_000), ("hour", HOUR_MS), ("minute", 60_000), ("second", 1000))


def number(value: int | Decimal | str | None) -> str:
    """`1234567.5` as `1,234,567.5`; a dash for nothing. Decimal text keeps its digits."""
    if value is None:
        return "–"
    text = format(value, "f") if isinstance(value, Decimal) else str(value)
    whole, dot, part = text.partition(".")
    sign, digits = ("−", whole[1:]) if whole.startswith("-") else ("", whole)
    if not digits.isdigit():
        return text
    return f"{sign}{int(digits):,}{dot}{part}" if len(digits) < 4000 else text


def trimmed(value: Decimal, places: int = _PLACES) -> str:
    """Rounded down to so many places, without zeros at the end."""
    with localcontext(_EXACT):
        cut = value.quantize(Decimal(1).scaleb(-places), rounding=ROUND_DOWN)
    text = format(cut, "f")
    return number(text.rstrip("0").rstrip(".") if "." in text else text)


def money(value: Decimal, currency: str) -> str:
    """`¥1,234.50`, with two to four decimals, rounded down; currencies without a sign are named."""
    text = trimmed(value)
    whole, _, part = text.partition(".")
    amount = f"{whole}.{part.ljust(2, '0')}"
    sign = _SIGNS.get(currency)
    if sign is None:
        return f"{amount} {currency}".rstrip()
    return f"−{sign}{amount[1:]}" if amount.startswith("−") else f"{sign}{amount}"


def utc(at_ms: int) -> str:
    """`2026-01-31T13:05:07Z`, for machines."""
    return _of(at_ms).strftime("%Y-%m-%dT%H:%M:%SZ")


def span_of(ms: int) -> tuple[str, int]:
    """The largest unit that fits, and how many: ("minute", 5)."""
    for name, length in _SPANS:
        if abs(ms) >= length:
            return name, abs(ms) // length
    return "second", 0


@dataclass(frozen=True, slots=True)
class Times:
    """Writes times in the zone of the site."""

    zone: tzinfo

    def moment(self, at_ms: int) -> str:
        """`2026-01-31 21:05:07`."""
        return self._local(at_ms).strftime("%Y-%m-%d %H:%M:%S")

    def minute(self, at_ms: int) -> str:
        """`2026-01-31 21:05`."""
        return self._local(at_ms).strftime("%Y-%m-%d %H:%M")

    def clock(self, at_ms: int) -> str:
        """`21:05`."""
        return self._local(at_ms).strftime("%H:%M")

    def day(self, at_ms: int) -> str:
        """`2026-01-31`."""
        return self._local(at_ms).strftime("%Y-%m-%d")

    def midnight(self, at_ms: int) -> int:
        """When the day of this time began, in UTC ms."""
        start = self._local(at_ms).replace(hour=0, minute=0, second=0, microsecond=0)
        return (start - _EPOCH) // timedelta(milliseconds=1)

    def name(self, at_ms: int) -> str:
        """The zone's distance from UTC then: `UTC+8`, `UTC`."""
        offset = self._local(at_ms).utcoffset() or timedelta()
        minutes = int(offset.total_seconds()) // 60
        if not minutes:
            return "UTC"
        hours, rest = divmod(abs(minutes), 60)
        return f"UTC{'+' if minutes > 0 else '−'}{hours}{f':{rest:02}' if rest else ''}"

    def _local(self, at_ms: int) -> datetime:
        return _of(at_ms).astimezone(self.zone)


def _of(at_ms: int) -> datetime:
    """Times beyond all calendars are shown as the end of them, so that no page fails for one."""
    return _EPOCH + timedelta(milliseconds=min(max(at_ms, 0), _LATEST_MS - 86_400_000))
