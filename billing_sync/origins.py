"""When usage happened: quantities by the window they are from, oldest first. Pure.

Units of one window are all alike, so which of them a record carries is only ever a number.
"""

import json
from collections.abc import Iterable

Origins = tuple[tuple[int, int], ...]  # (window, quantity > 0), windows ascending

_encode = json.JSONEncoder(separators=(",", ":")).encode  # `json.dumps` would make one each time


def of(amounts: Iterable[tuple[int, int]]) -> Origins:
    """The amounts by window; windows that come twice are added up."""
    found: dict[int, int] = {}
    for window, quantity in amounts:
        found[window] = found.get(window, 0) + quantity
    return tuple(sorted((window, quantity) for window, quantity in found.items() if quantity))


def total(origins: Origins) -> int:
    """The quantity over all windows."""
    return sum(quantity for _, quantity in origins)


def split(origins: Origins, quantity: int) -> tuple[Origins, Origins]:
    """The oldest `quantity` units, and what is left."""
    first, rest = [], []
    for window, there in origins:
        part = min(there, max(quantity, 0))
        quantity -= part
        first.append((window, part))
        rest.append((window, there - part))
    return of(first), of(rest)


def common(one: Origins, other: Origins) -> Origins:
    """What both hold of each window."""
    held = dict(other)
    return of((window, min(quantity, held.get(window, 0))) for window, quantity in one)


def without(origins: Origins, gone: Origins) -> Origins:
    """What is left when `gone`, which is part of it, is taken away."""
    return of([*origins, *((window, -quantity) for window, quantity in gone)])


def encode(origins: Origins) -> str:
    """As it stands in SQL and in the push log."""
    return _encode(origins)


def decode(text: str) -> Origins:
    """The inverse of `encode`."""
    return of((int(window), int(quantity)) for window, quantity in json.loads(text))
