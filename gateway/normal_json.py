"""The reader of a JSON reply that is to say its usage as KooGallery wants it. Pure."""

from gateway.json_bodies import BOM, MAX_JSON, documents
from gateway.normal_usage import counts_of, rewritten
from gateway.readings import Readings


class NormalJson:
    """Holds a JSON body back until it is whole, and completes its `usage`.

    One of more than MAX_JSON goes on as it comes, unread.
    """

    __slots__ = ("_body", "_lost", "_readings")

    def __init__(self, readings: Readings) -> None:
        self._readings = readings
        self._body = bytearray()
        self._lost = False

    def feed(self, chunk: bytes) -> bytes:
        """Nothing, or what can be held no longer."""
        if self._lost:
            return chunk
        self._body += chunk
        if len(self._body) <= MAX_JSON:
            return b""
        self._lost = True
        return self._take()

    def finish(self) -> bytes:
        """The body, with KooGallery's usage if any is known."""
        if self._lost:
            return b""
        body = self._take()
        document = body.removeprefix(BOM)
        for each in documents(document):
            self._readings.see(each)
        counts = counts_of(self._readings.quantities(complete=True))
        changed = rewritten(document, counts)
        return body if changed is document else changed

    def _take(self) -> bytes:
        body = bytes(self._body)
        self._body.clear()
        return body
