"""The tap watches one reply pass by and ends as the quantities that were read from it. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Final, NamedTuple

from gateway import decoding, known_usage
from gateway.bodies import MAX_JSON, Body, EventStream, JsonBody, StrippedStream
from gateway.dialects import Dialect
from gateway.readings import Readings
from metering.quantities import Kind, Quantities, compact, kind_of
from metering.usage import Grade, Quantity

_MAX_WAYS: Final = 256
_TOKENS: Final = frozenset({"tokens_in", "tokens_out", "tokens_total"})


def _exact(*more: str) -> Kind:
    meters = ("requests", "bytes_in", "bytes_out", "tokens_in", "tokens_out", "tokens_total", *more)
    return kind_of(meters, (Grade.EXACT,) * len(meters))


_USUAL: Final = _exact()
_USUAL_CACHED: Final = _exact("tokens_cached")
_USUAL_REASONING: Final = _exact("tokens_reasoning")
_USUAL_BOTH: Final = _exact("tokens_cached", "tokens_reasoning")


class _Way(NamedTuple):
    """How replies that are labelled alike are read."""

    expected: frozenset[str]
    make: Callable[[Readings], Body] | None  # None: not at all
    coding: bytes
    usual: bool = False  # plain JSON of which nothing unusual is expected


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
    ways: dict[tuple[bytes, bytes, bool], _Way] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def way(self, content_type: bytes, content_encoding: bytes, *, injected: bool) -> _Way:
        """How a reply with these header values is read; decided once, for a bounded number."""
        key = (content_type, content_encoding, injected)
        way = self.ways.get(key)
        if way is None:
            if len(self.ways) >= _MAX_WAYS:
                self.ways.clear()
            way = self.ways[key] = _way(self, content_type, content_encoding, injected=injected)
        return way


def read_usual(
    plan: UsagePlan, content_type: bytes, content_encoding: bytes, body: bytes, bytes_in: int
) -> Quantities | None:
    """All quantities of a reply that came whole, where it is written as nearly all are, else None.

    What a Tap reads, in one step.
    """
    way = plan.ways.get((content_type, content_encoding, False))
    if way is None:
        way = plan.way(content_type, content_encoding, injected=False)
    read = known_usage.usual(body) if way.usual and len(body) <= MAX_JSON else None
    if read is None:
        return None
    tokens_in, tokens_out, cached, reasoning = read
    amounts = (1, bytes_in, len(body), tokens_in, tokens_out, tokens_in + tokens_out)
    if reasoning is None:
        if cached is None:
            return Quantities(_USUAL, amounts)
        return Quantities(_USUAL_CACHED, (*amounts, cached))
    if cached is None:
        return Quantities(_USUAL_REASONING, (*amounts, reasoning))
    return Quantities(_USUAL_BOTH, (*amounts, cached, reasoning))


class Tap:
    """Watches one reply. Never raises, whatever the upstream sends.

    Bytes pass through unchanged, except that an injected usage event is taken out again.
    `path` is the request's, the other bytes are header values of the reply.
    """

    __slots__ = ("_body", "_complete", "_expected", "_inflater", "_path", "_readings")

    def __init__(
        self,
        plan: UsagePlan,
        *,
        path: str,
        content_type: bytes,
        content_encoding: bytes,
        injected: bool,
    ) -> None:
        self._path = path
        way = plan.way(content_type, content_encoding, injected=injected)
        self._expected, make, coding = way.expected, way.make, way.coding
        self._readings = Readings(plan.dialect, plan.paths)
        self._complete = False
        self._inflater = decoding.inflater(coding) if coding else None
        self._body = None if make is None else make(self._readings)

    @property
    def raw(self) -> bytes:
        """The first 2 KiB of the last usage object seen, as it stood in the reply, for audit."""
        return self._readings.raw

    def reader(self) -> Callable[[bytes], bytes]:
        """What does as `feed` does until `finish`, at less cost where nothing can go wrong."""
        if isinstance(self._body, EventStream | StrippedStream) and self._inflater is None:
            return self._body.feed
        return self.feed

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

    def so_far(self) -> Quantities:
        """What was reported until now."""
        return self._readings.quantities(complete=False)

    def quantities(self) -> Quantities:
        """After `finish`: the meters read from the reply, and the expected ones that were not found."""
        read = self._readings.quantities(complete=self._complete)
        absent = self._expected and self._expected - read.kind.index.keys()
        if not absent:
            return read
        return compact({**read, **{meter: self._absent(meter, read) for meter in sorted(absent)}})

    def _give_up(self) -> None:
        """What was read until here came from bytes that turned out not to be trustworthy."""
        self._body = None
        self._readings.clear()

    def _absent(self, meter: str, read: Mapping[str, Quantity]) -> Quantity:
        tokens_in = read.get("tokens_in")
        if meter != "tokens_out" or tokens_in is None:
            return Quantity(0, Grade.MISSING)
        # An embedding has no output, so nobody reports it; that it is zero is known all the same.
        generates = not self._path.partition("?")[0].endswith("/embeddings")
        none_out = not generates or tokens_in == read.get("tokens_total")
        return Quantity(0, tokens_in.grade if none_out else Grade.MISSING)


def _way(plan: UsagePlan, content_type: bytes, content_encoding: bytes, *, injected: bool) -> _Way:
    json, readable = decoding.is_json(content_type), _is_readable(content_type)
    expected = plan.expected
    if plan.dialect in ("openai", "anthropic") and readable:
        expected |= _TOKENS
    packed = False
    try:
        packed = decoding.inflater(content_encoding) is not None
    except decoding.Unreadable:
        readable = False
    if plan.dialect == "none" or not readable:
        return _Way(expected, None, b"")
    keys = [path[-1] for path in plan.paths.values()]
    stripped = injected and not packed
    make = JsonBody if json else partial(StrippedStream if stripped else EventStream, keys=keys)
    usual = json and not packed and not plan.paths and expected <= _TOKENS
    return _Way(expected, make, content_encoding if packed else b"", usual)


def _is_readable(content_type: bytes) -> bool:
    return decoding.is_json(content_type) or decoding.is_event_stream(content_type)
