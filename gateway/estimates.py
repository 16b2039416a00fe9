"""How much a call will use, before it is made: read off its request, or told by those before. Pure.

An upper bound is what no honest upstream passes. Of what is only known by others a high value is
expected, the mean and two mean deviations, as TCP does with the time a reply takes (RFC 6298): few calls
pass it. The body is searched as bytes: a key that is written with escapes is not found.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from metering.usage import MAX_QUANTITY

# What an API calls the most tokens it may make: all begin alike, so they are found by one search.
_MOST: Final = b'"max'
_MOST_KEYS: Final = frozenset(
    {
        b'"max_tokens"',
        b'"max_completion_tokens"',
        b'"max_output_tokens"',
        b'"max_tokens_to_sample"',
        b'"maxOutputTokens"',
    }
)
_LONGEST_KEY: Final = 24
_CHOICES: Final = (b'"n"', b'"best_of"', b'"candidateCount"')
_MAX_CHOICES: Final = 128
# Where these stand the prompt is more than the text in the body, so its size is no bound.
_ELSEWHERE: Final = (
    b"_url",
    b'"image',
    b'"file',
    b'"input_audio"',
    b'"document"',
    b'"previous_response_id"',
    b'"conversation"',
    b'"cachedContent"',
)
_DIGITS: Final = 15
_LOOKED_AT: Final = 64  # bytes behind a key
_SCALE: Final = 4  # binary digits behind the point
_MEMORY: Final = 16  # a mean is mostly that of the last so many calls
_FIRST: Final[Mapping[str, int]] = {"bytes_out": 4096, "bytes_in": 1024, "duration_ms": 60_000}
_FIRST_OTHER: Final = 1
_FIRST_TOKENS: Final = 4096  # rather too much: many may come before one is over
_MAX_MEANS: Final = 4096
_UNKNOWN: Final = (0, 0, 0)


class Estimate(NamedTuple):
    """In the meter's unit, at least 1. `bound`: it cannot be more; otherwise others were so large."""

    amount: int
    bound: bool


class Asked(NamedTuple):
    """What is known of a request's body: what came of it, and its length, below 0 if unknown."""

    body: bytes
    length: int


class Means:
    """A running mean by route and meter, and how far calls are from it; it begins with a guess."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], tuple[int, int, int]] = {}  # scaled, and of how many

    def of(self, route: str, meter: str) -> int:
        """What a call uses on the average, at least 1."""
        mean, _, calls = self._known.get((route, meter), _UNKNOWN)
        return max(1, mean >> _SCALE) if calls else _first(meter)

    def high(self, route: str, meter: str) -> int:
        """What few calls pass, at least 1."""
        mean, deviation, calls = self._known.get((route, meter), _UNKNOWN)
        return max(1, (mean + 2 * deviation) >> _SCALE) if calls else _first(meter)

    def learn(self, route: str, meter: str, actual: int) -> None:
        """A call used so much."""
        if len(self._known) >= _MAX_MEANS:
            self._known.clear()
        mean, deviation, calls = self._known.get((route, meter), _UNKNOWN)
        calls = min(calls + 1, _MEMORY)
        scaled = actual << _SCALE
        off = abs(scaled - mean) if calls > 1 else scaled >> 1  # one call says little about others
        self._known[route, meter] = (
            mean + (scaled - mean) // calls,
            deviation + (off - deviation) // calls,
            calls,
        )


def estimate(meter: str, route: str, asked: Asked, means: Means) -> Estimate:
    """What a call on `route` will use of `meter`."""
    if meter == "requests":
        return Estimate(1, bound=True)
    if meter == "bytes_in" and asked.length >= 0:
        return Estimate(max(1, asked.length), bound=True)
    if meter in ("tokens_out", "tokens_total"):
        most = most_tokens_made(asked.body)
        if most is not None:
            return _with_prompt(meter, most, asked)
    return Estimate(means.high(route, meter), bound=False)


def most_tokens_made(body: bytes) -> int | None:
    """The most tokens the request lets the model make, over all choices; None if it says nothing."""
    stated = _stated(body)
    if stated is None:
        return None
    choices = 1
    for key in _CHOICES:
        if body.find(key) >= 0:
            choices = max(choices, _largest(body, key))
    most = stated * min(choices, _MAX_CHOICES)
    return most if most <= MAX_QUANTITY else None


def _with_prompt(meter: str, most: int, asked: Asked) -> Estimate:
    if meter == "tokens_out":
        return Estimate(max(1, most), bound=True)
    # No token of a text is shorter than a byte; JSON takes more than what a model puts around it.
    body, length = asked
    whole = 0 <= length <= len(body)
    text_only = whole and not any(body.find(mark) >= 0 for mark in _ELSEWHERE)
    return Estimate(max(1, most + max(length, len(body))), bound=text_only)


def _stated(body: bytes) -> int | None:
    """The largest of what may be the limit, wherever it stands."""
    found: int | None = None
    at = body.find(_MOST)
    while at >= 0:
        end = body.find(b'"', at + 4, at + _LONGEST_KEY) + 1
        if end and body[at:end] in _MOST_KEYS:
            value = _number(body, end)
            if found is None or (value is not None and value > found):
                found = value
        at = body.find(_MOST, at + 4)
    return found


def _largest(body: bytes, key: bytes) -> int:
    """The largest plain number behind the key, wherever it stands; 0 without any."""
    found, at = 0, body.find(key)
    while at >= 0:
        at += len(key)
        found = max(found, _number(body, at) or 0)
        at = body.find(key, at)
    return found


def _number(body: bytes, at: int) -> int | None:
    """What `: 123` says there, None for anything else."""
    if body[at : at + 2] == b": ":  # as many write it
        at += 1
    elif body[at : at + 1] != b":":
        colon = body.find(b":", at, at + _LOOKED_AT)
        if colon < 0 or body[at:colon].strip():
            return None
        at = colon
    start = at + 1
    end = body.find(b",", start, start + _LOOKED_AT)
    last = body.find(b"}", start, start + _LOOKED_AT if end < 0 else end)
    text = body[start : last if last >= 0 else end] if last >= 0 or end >= 0 else b""
    if not text.isdigit():
        text = text.strip()
    return int(text) if text.isdigit() and len(text) <= _DIGITS else None


def _first(meter: str) -> int:
    if meter.startswith("tokens"):
        return _FIRST_TOKENS
    return _FIRST.get(meter, _FIRST_OTHER)
