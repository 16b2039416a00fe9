"""Picks what of a stream is worth decoding, and reads it. Pure."""

from collections.abc import Iterable
from typing import Final

from gateway.readings import Readings

DONE: Final = b"[DONE]"
USAGE: Final = b'"usage'  # and `"usageMetadata"`
_START: Final = b"message_start"
_STOP: Final = b"message_stop"
_NO_USAGE: Final = b'"usage":null'


class Watch:
    """Picks the events that are worth decoding."""

    __slots__ = ("_needles", "_readings", "keyed")

    def __init__(self, readings: Readings, keys: Iterable[str]) -> None:
        self._readings = readings
        self._needles = tuple([f'"{key}"'.encode() for key in keys])
        self.keyed = bool(self._needles)  # more than the known usage is looked for

    def wants(self, data: bytes) -> bool:
        """Whether these bytes, of an event or of many, may hold something to read."""
        if _STOP in data or DONE in data:
            return True
        if USAGE in data and _says_usage(data):
            return True
        return self.keyed and any(needle in data for needle in self._needles)

    def see(self, data: bytes) -> None:
        """Reads the data of one event."""
        if data.strip() == DONE:
            self._readings.end()
        elif self.wants(data):
            self._readings.see(data)


def _says_usage(data: bytes) -> bool:
    """Whether it says more of usage than that there is none, as chunk after chunk of OpenAI's do."""
    return data.count(_NO_USAGE) != data.count(USAGE) or _START in data
