"""How much a call will use, before it is made: read off its request, or the mean of those before. Pure.

An upper bound is what no honest upstream passes; a mean is passed half the time. The body is searched
as bytes: a key that is written with escapes is not found, and then it is a mean.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from metering.usage import MAX_QUANTITY

# What an API calls the most tokens it may make.
_MOST: Final = (b'"max_tokens"', b'"max_completion_tokens"', b'"max_output_tokens"')
_MOST_ELSEWHERE: Final = (b'"maxOutputTokens"', b'"max_tokens_to_sample"', b'"num_predict"')
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
_BLANKS: Final = b" \t\r\n"
_DIGITS: Final = 15
_SCALE: Final = 4  # binary digits behind the point
_MEMORY: Final = 16  # a mean is mostly that of the last so many calls
_FIRST: Final[Mapping[str, int]] = {"bytes_out": 4096, "bytes_in": 1024, "duration_ms": 60_000}
_FIRST_OTHER: Final = 1
_FIRST_TOKENS: Final = 4096  # rather too much: many may come before one is over
_MAX_MEANS: Final = 4096


class Estimate(NamedTuple):
    """In the meter's unit, at least 1. `bound`: it cannot be more; otherwise a mean."""

    amount: int
    bound: bool


class Asked(NamedTuple):
    """What is known of a request's body: what came of it, and its length, below 0 if unknown."""

    body: bytes
    length: int


class Means:
    """A running mean by route and meter, which begins with a guess."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], tuple[int, int]] = {}  # scaled, and of how many

    def of(self, route: str, meter: str) -> int:
        """What a call uses on the average, at least 1."""
        scaled, calls = self._known.get((route, meter), (0, 0))
        return max(1, scaled >> _SCALE) if calls else _first(meter)

    def learn(self, route: str, meter: str, actual: int) -> None:
        """A call used so much."""
        if len(self._known) >= _MAX_MEANS:
            self._known.clear()
        scaled, calls = self._known.get((route, meter), (0, 0))
        calls = min(calls + 1, _MEMORY)
        scaled += ((actual << _SCALE) - scaled) // calls
        self._known[route, meter] = (scaled, calls)


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
    return Estimate(means.of(route, meter), bound=False)


def most_tokens_made(body: bytes) -> int | None:
    """The most tokens the request lets the model make, over all choices; None if it says nothing."""
    stated = _largest(body, _MOST)
    if stated is None:
        stated = _largest(body, _MOST_ELSEWHERE)
    if stated is None:
        return None
    choices = _largest(body, _CHOICES) or 1
    most = stated * min(max(1, choices), _MAX_CHOICES)
    return most if most <= MAX_QUANTITY else None


def _with_prompt(meter: str, most: int, asked: Asked) -> Estimate:
    if meter == "tokens_out":
        return Estimate(max(1, most), bound=True)
    # No token of a text is shorter than a byte; JSON takes more than what a model puts around it.
    length = max(asked.length, len(asked.body))
    whole = asked.length >= 0 and len(asked.body) >= asked.length
    elsewhere = any(asked.body.find(mark) >= 0 for mark in _ELSEWHERE)
    return Estimate(max(1, most + length), bound=whole and not elsewhere)


def _largest(body: bytes, keys: tuple[bytes, ...]) -> int | None:
    """The largest plain number behind any of the keys, wherever they stand."""
    found: int | None = None
    for key in keys:
        at = body.find(key)
        while at >= 0:
            at += len(key)
            value = _number(body, at)
            if value is not None and (found is None or value > found):
                found = value
            at = body.find(key, at)
    return found


def _number(body: bytes, at: int) -> int | None:
    """What `: 123` says there, None for anything else."""
    rest = body[at : at + _DIGITS + 9].lstrip(_BLANKS)
    if not rest.startswith(b":"):
        return None
    rest = rest[1:].lstrip(_BLANKS)
    digits = rest[: len(rest) - len(rest.lstrip(b"0123456789"))]
    behind = rest[len(digits) : len(digits) + 1]
    # A number that goes on, or may go on behind what was looked at, is none we know.
    if not 0 < len(digits) <= _DIGITS or behind in b".eE":
        return None
    return int(digits)


def _first(meter: str) -> int:
    if meter.startswith("tokens"):
        return _FIRST_TOKENS
    return _FIRST.get(meter, _FIRST_OTHER)
