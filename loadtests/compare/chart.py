"""A bar chart of ratios as SVG, written by hand: a group of bars per scenario. Pure."""

from collections.abc import Mapping, Sequence
from html import escape
from math import log10
from typing import Final

_WIDTH: Final = 860
_LEFT: Final = 150  # names of peers
_RIGHT: Final = 70  # figures
_BAR: Final = 16
_GAP: Final = 5
_HEAD: Final = 34
_OURS: Final = "#0a7d54"
_THEIRS: Final = "#9aa5b1"
_BASE: Final = "#c2410c"

Groups = Mapping[str, Mapping[str, float]]


def svg(title: str, groups: Groups, base: str) -> str:
    """`groups` has by scenario's title the ratios to `base` by peer. The scale is logarithmic."""
    values = [v for bars in groups.values() for v in bars.values() if v > 0]
    low, high = _decades(values)
    parts, y = [_text(10, 24, title, size=16, weight="bold")], 44
    for name, bars in groups.items():
        parts.append(_text(10, y + 14, name, weight="bold"))
        y += _HEAD - _BAR
        for peer, value in bars.items():
            y += _GAP
            parts += _bar(y, peer, value, _scaled(value, low, high), base)
            y += _BAR
        y += _GAP * 3
    parts += _line(_LEFT + _scaled(1.0, low, high), y)
    return _document(y + 10, parts)


def _decades(values: Sequence[float]) -> tuple[float, float]:
    """Logarithms of whole powers of ten around the values and 1."""
    logs = [log10(value) for value in values] or [0.0]
    return float(min(-1, int(min(logs)) - 1)), float(max(1, int(max(logs)) + (max(logs) > 0)))


def _scaled(value: float, low: float, high: float) -> float:
    """Pixels from the left end of the bars."""
    share = (log10(value) - low) / (high - low) if value > 0 else 0.0
    return round(share * (_WIDTH - _LEFT - _RIGHT), 1)


def _bar(y: int, peer: str, value: float, width: float, base: str) -> list[str]:
    fill = _BASE if peer == base else _OURS if peer.startswith("tallygate") else _THEIRS
    rectangle = f'<rect x="{_LEFT}" y="{y}" width="{width}" height="{_BAR}" fill="{fill}"/>'
    said = f"{value:.2f}" if value < 20 else f"{value:.0f}"
    beside = _LEFT + width + 6
    return [_text(_LEFT - 8, y + 12, peer, anchor="end"), rectangle, _text(beside, y + 12, said)]


def _line(x: float, bottom: int) -> list[str]:
    return [
        f'<line x1="{x}" y1="36" x2="{x}" y2="{bottom}" stroke="{_BASE}" stroke-dasharray="3 3"/>'
    ]


def _text(
    x: float, y: float, text: str, *, size: int = 12, anchor: str = "start", weight: str = "normal"
) -> str:
    style = f'font-size="{size}" text-anchor="{anchor}" font-weight="{weight}"'
    return f'<text x="{x}" y="{y}" {style}>{escape(text)}</text>'


def _document(height: int, parts: Sequence[str]) -> str:
    """On white, so that it can be read on a dark page too."""
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
        f'width="{_WIDTH}" height="{height}" font-family="sans-serif" fill="#1f2933">'
    )
    paper = f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>'
    return "\n".join([head, paper, *parts, "</svg>", ""])
