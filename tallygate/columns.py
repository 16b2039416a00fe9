"""Rows on a terminal, in columns as wide as what stands in them."""

from collections.abc import Iterable, Iterator, Sequence


def in_columns(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """The lines, titles first, without blanks at their ends."""
    lines = [titles, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        yield "  ".join(map(str.ljust, line, widths)).rstrip()
