"""How much a call will use, before it is made: read off its request, or told by those before. Pure.

An upper bound is what no honest upstream passes. Of what is only known by others a high value is
expected, the mean and two mean deviations, as TCP does with the time a reply takes (RFC 6298): few calls
pass it. The body is searched as bytes: a key that is written with escapes is not found.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from metering.usage import MAX_QUANTITY

# What an API calls the most tokens it may make.
_MOST: Final = frozenset(
    (
        b"max_tokens",
        b"max_completion_tokens",
        b"max_output_tokens",
        b"max_tokens_to_sample",
        b"maxOutputTokens",
    )
)
_CHOICES: Final = frozenset((b"n", b"best_of", b"candidateCount"))
_MAX_CHOICES: Final = 128
# Where one of these stands the prompt is more than the text in the body, so its size is no bound.
_ELSEWHERE: Final = frozenset(
    b"url image_url video_url audio_url file_url image images input_image image_file input_audio audio "
    b"video file files file_id file_ids file_data input_file fileData fileUri inlineData inline_data "
    b"document previous_response_id conversation cachedContent cached_content".split()
)
_LOOKED_FOR: Final = _MOST | _CHOICES | _ELSEWHERE
SAID: Final = b'"max'  # all of them begin with it
_ALONE: Final = {frozenset((key,)): key for key in _MOST}
_OF_TOKENS: Final = frozenset(("tokens_out", "tokens_total"))
_DIGITS: Final = 15
_SCALE: Final = 4  # binary digits behind the point
_MEMORY: Final = 16  # a mean is mostly that of the last so many calls
_SOME: Final = 4
_FIRST: Final[Mapping[str, int]] = {"bytes_out": 4096, "bytes_in": 1024, "duration_ms": 60_000}
_FIRST_OTHER: Final = 1
_FIRST_TOKENS: Final = 4096  # rather too much: many may come before one is over


class Estimate(NamedTuple):
    """In the meter's unit, at least 1. `bound`: it cannot be more; otherwise others were so large."""

    amount: int
    bound: bool


class Mean:
    """What calls of one route use of one meter: `usual` on the average, and few more than `high`.

    Both are at least 1, and begin with a guess.
    """

    __slots__ = ("_calls", "_deviation", "_mean", "_skipped", "high", "usual")

    def __init__(self, meter: str) -> None:
        self.usual = self.high = _first(meter)
        self._mean = self._deviation = self._calls = 0  # the first two are scaled
        self._skipped = 0

    def learn(self, actual: int) -> None:
        """A call used so much. Once enough are known, one in some is enough."""
        self._skipped += 1
        if self._skipped < _SOME and self._calls >= _MEMORY:
            return
        self._skipped = 0
        scaled = actual << _SCALE
        if not self._calls:
            self._mean, self._deviation, self._calls = scaled, scaled >> 1, 1
        else:
            calls = self._calls
            if calls < _MEMORY:
                self._calls = calls = calls + 1
            off = scaled - self._mean
            self._mean += off // calls
            self._deviation += (abs(off) - self._deviation) // calls
        self.usual = max(1, self._mean >> _SCALE)
        self.high = max(1, (self._mean + 2 * self._deviation) >> _SCALE)


def is_always_guessed(meter: str) -> bool:
    """Whether a request without SAID tells nothing about what it will use of `meter`."""
    return most_used(meter, b"", 0) == 0


def needed_to_say(meter: str) -> bytes:
    """What a body must hold for `most_used` to find anything in it."""
    return SAID if meter in _OF_TOKENS else b""


def most_used(meter: str, body: bytes, length: int) -> int:
    """The most a call can use of `meter`; below zero what it can be thought to; 0 if nothing is known.

    `body` is what came of its body so far, `length` what it will be, below 0 if that is unknown.
    """
    if meter not in _OF_TOKENS:
        if meter == "requests":
            return 1
        return max(1, length) if meter == "bytes_in" and length >= 0 else 0
    parts = body.split(b'"') if body.find(SAID) >= 0 else []
    found = _found(body, parts)
    most = _most_tokens_made(parts, found)
    if most is None:
        return 0
    if meter == "tokens_out":
        return most or 1
    # No token of a text is shorter than a byte; JSON takes more than what a model puts around it.
    come = len(body)
    if 0 <= length <= come and (found in _ALONE or found.isdisjoint(_ELSEWHERE)):
        return most + come or 1
    return -max(1, most + max(length, come))


def _found(body: bytes, parts: list[bytes]) -> frozenset[bytes]:
    # Every other part is a string, as long as no quotation mark in one of them is escaped.
    return _LOOKED_FOR.intersection(parts if b"\\" in body else parts[1::2])


def _most_tokens_made(parts: list[bytes], found: frozenset[bytes]) -> int | None:
    """The most tokens the request lets the model make, over all choices; None if it says nothing."""
    alone = _ALONE.get(found)
    if alone is not None and parts.count(alone) == 1 and parts[-1] != alone:  # as most requests are
        return _number(parts[parts.index(alone) + 1])
    if found.isdisjoint(_MOST):
        return None
    stated = _largest(parts, found & _MOST)
    if stated is None:
        return None
    choices = 1 if found.isdisjoint(_CHOICES) else _largest(parts, found & _CHOICES) or 1
    most = stated * max(1, min(choices, _MAX_CHOICES))
    return most if most <= MAX_QUANTITY else None


def _largest(parts: list[bytes], keys: frozenset[bytes]) -> int | None:
    """The largest plain number behind one of the keys, wherever they stand."""
    largest: int | None = None
    for key in keys:
        at = -1
        for _ in range(parts.count(key)):
            at = parts.index(key, at + 1)
            value = _number(parts[at + 1]) if at + 1 < len(parts) else None
            if value is not None and (largest is None or value > largest):
                largest = value
    return largest


def _number(behind: bytes) -> int | None:
    """What `: 123, ` says, None for anything else."""
    if not behind.startswith(b":") and not behind.lstrip().startswith(b":"):
        return None
    text = behind.strip(b": ,}]\t\r\n")
    return int(text) if text.isdigit() and len(text) <= _DIGITS else None


def _first(meter: str) -> int:
    if meter.startswith("tokens"):
        return _FIRST_TOKENS
    return _FIRST.get(meter, _FIRST_OTHER)
