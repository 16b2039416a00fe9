"""What a dashboard is made of here: rows of panels, each with its queries."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["stat", "lines", "stack", "bars"]


@dataclass(frozen=True)
class Panel:
    """`queries` are PromQL and the legend of what they give; `unit` is Grafana's id of it."""

    title: str
    queries: tuple[tuple[str, str], ...]
    unit: str = "short"
    kind: Kind = "lines"
    why: str = ""


@dataclass(frozen=True)
class Row:
    """Panels under one heading."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class Board:
    """One dashboard; `name` is its file's and part of its uid."""

    name: str
    title: str
    rows: tuple[Row, ...]


def panel(title: str, query: str, legend: str = "", unit: str = "short", why: str = "") -> Panel:
    """Lines of one query."""
    return Panel(title, ((query, legend),), unit, why=why)


def stat(title: str, query: str, unit: str = "short", why: str = "") -> Panel:
    """One number."""
    return Panel(title, ((query, ""),), unit, "stat", why)


def stack(title: str, query: str, legend: str, unit: str = "short") -> Panel:
    """Areas on top of each other."""
    return Panel(title, ((query, legend),), unit, "stack")


def quantiles(title: str, metric: str, by: str, *shares: float) -> Panel:
    """Of a histogram, in seconds."""
    rate = f"sum by ({by}, le) (rate({metric}_bucket[$__rate_interval]))"
    queries = [
        (f"histogram_quantile({share}, {rate})", f"{{{{{by}}}}} p{share * 100:g}")
        for share in shares
    ]
    return Panel(title, tuple(queries), "s")
