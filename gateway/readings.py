"""What has been read from one reply so far, field by field, the last value winning. Pure."""

from collections.abc import Mapping
from typing import Final

from gateway import dialects, lenient
from gateway.dialects import Dialect
from metering.usage import Grade, Quantity

RAW_LIMIT: Final = 2048


class Readings:
    """Takes the documents of a reply (its JSON body, or the data of its events) and merges them."""

    def __init__(self, dialect: Dialect, paths: Mapping[str, tuple[str, ...]]) -> None:
        self._dialect = dialect
        self._paths = paths
        self.clear()

    def clear(self) -> None:
        """Forgets everything: to begin with, and when a reply turns out to be unreadable."""
        self._stated: dict[str, int] = {}
        self._custom: dict[str, int] = {}
        self._ended: bool | None = None  # None: the stream says nothing of its end
        self.raw = b""

    def see(self, document: bytes) -> None:
        """Reads one document; what is not understood is passed over."""
        reply = dialects.decode(document)
        if reply is None:
            return
        reported = False
        for usage in dialects.usages(reply):
            stated = dialects.fields(usage)
            self._stated.update(stated)
            self.raw = bytes(memoryview(usage)[:RAW_LIMIT])
            reported = reported or bool(stated)
        ended = dialects.ending(reply, reported=reported)
        self._ended = self._ended if ended is None else ended
        for meter, path in self._paths.items():
            value = lenient.quantity_at(document, path)
            if value is not None:
                self._custom[meter] = value

    def end(self) -> None:
        """The stream said that it is over: what was reported is final."""
        self._ended = True

    def quantities(self, *, complete: bool) -> dict[str, Quantity]:
        """The meters read (a custom one outranks a built-in one); `complete`: the reply came whole."""
        # A stream that announced more (Anthropic's message_start) and ended without it is cut,
        # however well-formed its HTTP was: its output count is only a placeholder.
        exact = self._ended or (complete and self._ended is None)
        grade = Grade.EXACT if exact else Grade.PARTIAL
        values = dialects.meters(self._stated, self._dialect) | self._custom
        return {meter: Quantity(value, grade) for meter, value in values.items()}
