"""The tap watches one reply pass by and ends as the quantities that were read from it. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from gateway import decoding
from gateway.bodies import Body, EventStream, JsonBody, StrippedStream
from gateway.dialects import Dialect
from gateway.readings import Readings
from metering.usage import Grade, Quantity

_TOKENS: Final = frozenset({"tokens_in", "tokens_out", "tokens_total"})


@dataclass(frozen=True, slots=True)
class UsagePlan:
    """How usage is read on one route.

    `paths`: a custom meter's JSON keys, from "$.usage.pages". `expected`: the meters that are sold on
    the route and must come from the reply (never requests or bytes). `inject`: may ask for usage.
    """

    dialect: Dialect = "auto"
    paths: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    expected: frozenset[str] = frozenset()
    inject: bool = True


class Tap:
    """Watches one reply. Never raises, whatever the upstream sends.

    Bytes pass through unchanged, except that an injected usage event is taken out again.
    `path` is the request's, the other bytes are header values of the reply.
    """

    def __init__(
        self,
        plan: UsagePlan,
        *,
        path: str,
        content_type: bytes,
        content_encoding: bytes,
        injected: bool,
    ) -> None:
        self._generates = not path.partition("?")[0].endswith("/embeddings")
        self._readings = Readings(plan.dialect, plan.paths)
        self._inflater: decoding.Inflater | None = None
        self._body: Body | None = None
        self._complete = False
        self._expected = plan.expected
        if plan.dialect in ("openai", "anthropic") and _is_readable(content_type):
            self._expected |= _TOKENS
        if plan.dialect != "none" and _is_readable(content_type):
            self._open(plan, content_type, content_encoding, injected=injected)

    @property
    def raw(self) -> bytes:
        """The first 2 KiB of the last usage object seen, as it stood in the reply, for audit."""
        return self._readings.raw

    def feed(self, chunk: bytes) -> bytes:
        """What to hand on to the client now; may be b""."""
        if self._body is None or not chunk:
            return chunk
        try:
            if self._inflater is None:
                return self._body.feed(chunk)
            for piece in self._inflater.feed(chunk):
                self._body.feed(piece)
        except decoding.Unreadable:
            self._give_up()
        return chunk

    def finish(self, *, complete: bool) -> bytes:
        """Bytes that were held back. `complete`: the reply ended as its framing said, it was not cut."""
        body, self._body = self._body, None
        if body is None:
            return b""
        self._complete = complete and (self._inflater is None or self._inflater.whole)
        return body.finish()

    def quantities(self) -> dict[str, Quantity]:
        """After `finish`: the meters read from the reply, and the expected ones that were not found."""
        read = self._readings.quantities(complete=self._complete)
        return read | {meter: self._absent(meter, read) for meter in self._expected - read.keys()}

    def _open(
        self, plan: UsagePlan, content_type: bytes, content_encoding: bytes, *, injected: bool
    ) -> None:
        try:
            self._inflater = decoding.inflater(content_encoding)
        except decoding.Unreadable:
            return
        keys = [path[-1] for path in plan.paths.values()]
        if decoding.is_json(content_type):
            self._body = JsonBody(self._readings)
        elif injected and self._inflater is None:
            self._body = StrippedStream(self._readings, keys)
        else:
            self._body = EventStream(self._readings, keys)

    def _give_up(self) -> None:
        """What was read until here came from bytes that turned out not to be trustworthy."""
        self._body = None
        self._readings.clear()

    def _absent(self, meter: str, read: Mapping[str, Quantity]) -> Quantity:
        tokens_in = read.get("tokens_in")
        if meter != "tokens_out" or tokens_in is None:
            return Quantity(0, Grade.MISSING)
        # An embedding has no output, so nobody reports it; that it is zero is known all the same.
        none_out = not self._generates or tokens_in == read.get("tokens_total")
        return Quantity(0, tokens_in.grade if none_out else Grade.MISSING)


def _is_readable(content_type: bytes) -> bool:
    return decoding.is_json(content_type) or decoding.is_event_stream(content_type)
