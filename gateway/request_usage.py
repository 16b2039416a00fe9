"""What is counted in a request's own JSON body: the bytes and characters of a text in it, or a number.

KooGallery's byte and character items (spec §1.4) are those of `input`, counted by the gateway. Pure.
"""

from collections.abc import Iterator, Mapping
from typing import Final, Literal, NamedTuple

import msgspec

from gateway import decoding, lenient
from gateway.unpacking import Unreadable
from metering.usage import MAX_QUANTITY, Quantity

MAX_BODY: Final = 8 * 1024 * 1024

_BOM: Final = b"\xef\xbb\xbf"
_LIST: Final = msgspec.json.Decoder(list[msgspec.Raw])
_TEXTS: Final = msgspec.json.Decoder(str | list[str])


class Asked(NamedTuple):
    """What of a request a meter counts: the text, or the number, where `keys` lead."""

    keys: tuple[str, ...]
    counts: Literal["value", "bytes", "characters"]
    times: int = 1  # of a number


BUILT_IN: Final[Mapping[str, Asked]] = {
    "characters": Asked(("input",), "characters"),
    "input_bytes": Asked(("input",), "bytes"),
}


class RequestUsage:
    """Collects the body of one request and reads it at its end. Never raises.

    `content_encoding` is the request's. A body that is cut, larger than MAX_BODY or no JSON states
    nothing.
    """

    __slots__ = ("_body", "_lost", "_meters", "_unpacker")

    def __init__(self, meters: Mapping[str, Asked], content_encoding: bytes = b"") -> None:
        self._meters = meters
        self._body = bytearray()
        self._lost = False
        try:
            self._unpacker = decoding.unpacker(content_encoding)
        except Unreadable:
            self._unpacker = None
            self._lost = True

    def feed(self, chunk: bytes) -> None:
        """A piece of the body as it came from the client."""
        if self._lost:
            return
        try:
            for piece in (chunk,) if self._unpacker is None else self._unpacker.feed(chunk):
                self._take(piece)
        except Unreadable:
            self._lost = True
            self._body.clear()

    def _take(self, piece: bytes) -> None:
        if len(self._body) + len(piece) > MAX_BODY:
            raise Unreadable("a JSON body too large to read")
        self._body += piece

    def quantities(self) -> dict[str, Quantity]:
        """What was found, in what came so far."""
        if not self._body:
            return {}
        document = bytes(self._body).removeprefix(_BOM)
        read = {meter: _count(document, asked) for meter, asked in self._meters.items()}
        return {meter: Quantity(value) for meter, value in read.items() if value is not None}


def _count(document: bytes, asked: Asked) -> int | None:
    keys, counts, times = asked
    if counts == "value":
        return lenient.quantity_at(document, keys, times)
    texts = [lenient.decode(_TEXTS, value) for value in _values(document, keys)]
    total = 0
    for text in texts:
        if text is None:
            return None
        joined = text if isinstance(text, str) else "".join(text)
        total += len(joined) if counts == "characters" else len(joined.encode())
    return total if texts and total <= MAX_QUANTITY else None


def _values(document: bytes | msgspec.Raw, keys: tuple[str, ...]) -> Iterator[msgspec.Raw]:
    """The values where the keys lead, through objects and lists of objects."""
    members = lenient.members(document)
    value = None if members is None else members.get(keys[0])
    if value is None:
        return
    if len(keys) == 1:
        yield value
        return
    for each in lenient.decode(_LIST, value) or (value,):
        yield from _values(each, keys[1:])
