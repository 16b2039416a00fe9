"""Times, numbers and tables as people read them. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from metering.windows import Window, start_ms

_SCALE: Final = 10_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def time(at_ms: int) -> str:
    """A time as people and scripts read it."""
    step = "milliseconds" if at_ms % 1000 else "seconds"
    at = _EPOCH + timedelta(milliseconds=at_ms)
    return at.isoformat(timespec=step).replace("+00:00", "Z")


def hour(window: int) -> str:
    """The beginning of a window."""
    return time(start_ms(Window(window)))


def number(quantity: int) -> str:
    """With separators: 12,345."""
    return f"{quantity:,}"


def exactly(amount: int) -> str:
    """Ten-thousandths as a decimal number, for scripts: 12345.6789."""
    return _plain(amount, "")


def amount(amount: int) -> str:
    """The same with separators, as people read it: 12,345.6789."""
    return _plain(amount, ",")


def _plain(amount: int, separator: str) -> str:
    whole, part = divmod(abs(amount), _SCALE)
    decimals = f".{part:04}".rstrip("0").rstrip(".")
    return f"{'-' if amount < 0 else ''}{whole:{separator}}{decimals}"


def counted(count: int, noun: str) -> str:
    """So many of something: 1 row, 2 rows."""
    return f"{number(count)} {noun}{'' if count == 1 else 's'}"


def table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Columns as wide as what stands in them; those of numbers are flush right."""
    body = [*rows]
    columns = [_column(cells) for cells in zip(titles, *body, strict=True)]
    for cells in zip(*columns, strict=True):
        yield ("  " + "  ".join(cells)).rstrip()


def _column(cells: Sequence[str]) -> list[str]:
    width = max(map(len, cells))
    right = all(_is_number(cell) for cell in cells[1:])
    return [cell.rjust(width) if right else cell.ljust(width) for cell in cells]


def _is_number(cell: str) -> bool:
    return cell.replace(",", "").replace(".", "", 1).removeprefix("-").isdigit()
