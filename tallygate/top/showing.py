"""How `tallygate top` looks: tables of text, for a terminal or plain. Pure."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tallygate.top.view import View

_UNKNOWN = "-"


class Section(NamedTuple):
    """A table; the first column is to the left, the others to the right."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def sections(view: View) -> Iterator[Section]:
    """All that is shown, from the traffic down to the records."""
    yield Section("", _TRAFFIC, (_traffic(view),))
    headings: tuple[str, ...] = ("worker", "calls/s", "5xx/s", "tokens/s", "open", "streams", "not in Redis", "journal", "Redis lag")  # fmt: skip
    yield Section("", headings, tuple(_workers(view)))
    yield Section("", _PIPELINE, (_pipeline(view),))
    states = tuple(view.records.items())
    if states:
        yield Section("usage records", tuple(name for name, _ in states), (tuple(str(n) for _, n in states),))  # fmt: skip
    if view.customers:
        headings = ("customer", "calls/s", "tokens/s", "calls this hour", "tokens this hour")
        yield Section("", headings, tuple(_customers(view)))
    if view.alerts:
        rows = tuple((f"{level} % used", str(n)) for level, n in view.alerts.items())
        yield Section("packages", ("alert", "raised"), rows)


def plain(view: View) -> Iterator[str]:
    """Lines without colours."""
    yield _title(view)
    for section in sections(view):
        yield ""
        if section.title:
            yield section.title
        yield from _columns([section.headings, *section.rows])
    yield ""
    yield from (f"! {each}" for each in view.attention)
    if not view.attention:
        yield "nothing needs attention"


def drawn(view: View) -> RenderableType:
    """For rich."""
    parts: list[RenderableType] = [Text(_title(view), style="bold")]
    for section in sections(view):
        table = Table(box=None, pad_edge=False)
        for at, heading in enumerate(section.headings):
            table.add_column(heading, justify="right" if at else "left", style="cyan" if at == 0 else "")  # fmt: skip
        for row in section.rows:
            table.add_row(*map(Text, row))
        parts += [Text(""), *([Text(section.title)] if section.title else []), table]
    parts.append(Text(""))
    parts += [Text(f"! {_safe(each)}", style="bold red") for each in view.attention]
    if not view.attention:
        parts.append(Text("nothing needs attention", style="green"))
    return Group(*parts)


_TRAFFIC = ("calls/s", "5xx/s", "refused/s", "tokens/s", "KiB/s", "open", "streams")
_PIPELINE = ("ledger lag", "windows open", "oldest unpushed", "next deadline")


def _title(view: View) -> str:
    at = datetime.fromtimestamp(view.at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return f"tallygate top  {at}  over {view.seconds:.1f} s"


def _traffic(view: View) -> tuple[str, ...]:
    rates = view.rates
    numbers = [rates["calls"], rates["errors"], rates["refused"], rates["tokens"], rates["bytes"] / 1024]  # fmt: skip
    return (*map(rate, numbers), str(view.open), _count(view.streams))


def _workers(view: View) -> Iterator[tuple[str, ...]]:
    for each in view.workers:
        if each.up:
            rates = (rate(each.calls_s), rate(each.errors_s), rate(each.tokens_s))
            counts = (_count(each.open), _count(each.streams), _count(each.backlog))
            yield (each.name, *rates, *counts, age(each.journal_age_s), age(each.redis_lag_s))
        else:
            yield (f"{each.name} does not answer", *[_UNKNOWN] * 8)


def _pipeline(view: View) -> tuple[str, ...]:
    due = age(view.next_deadline_s)
    return (
        age(view.ledger_lag_s),
        _count(view.windows_open),
        age(view.oldest_unpushed_s),
        f"{due} ({view.next_deadline})" if view.next_deadline else _UNKNOWN,
    )


def _customers(view: View) -> Iterator[tuple[str, ...]]:
    for each in view.customers:
        rates = (rate(each.requests_s), rate(each.tokens_s))
        yield (_safe(each.customer_id), *rates, str(each.requests), str(each.tokens))


def rate(number: float | None) -> str:
    """Per second; few digits are enough."""
    if number is None:
        return _UNKNOWN
    return f"{number:.1f}" if number < 100 else f"{number:.0f}"


def age(seconds: float | None) -> str:
    """As people say it: 0.4 s, 12 s, 3 m 20 s, 2 h 5 m; with a minus for what is past."""
    if seconds is None:
        return _UNKNOWN
    sign, seconds = ("-", -seconds) if seconds < 0 else ("", seconds)
    whole = round(seconds)
    if whole < 60:
        return f"{sign}{seconds:.1f} s" if whole < 10 else f"{sign}{whole} s"
    if whole < 3600:
        return f"{sign}{whole // 60} m {whole % 60} s"
    return f"{sign}{whole // 3600} h {whole % 3600 // 60} m"


def _count(number: int | None) -> str:
    return _UNKNOWN if number is None else str(number)


def _safe(text: str) -> str:
    """Ids are others' words: none of them moves the cursor."""
    return "".join(sign if sign.isprintable() else "?" for sign in text)


def _columns(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        first, *rest = row
        cells = [first.ljust(widths[0]), *(c.rjust(w) for c, w in zip(rest, widths[1:], strict=True))]  # fmt: skip
        yield "  ".join(cells).rstrip()
