"""The tap watches one reply pass by and ends as the quantities that were read from it. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Final, NamedTuple, Protocol

from gateway import decoding, known_usage
from gateway.amounts import Dialect
from gateway.bodies import EventStream, StrippedStream
from gateway.json_bodies import MAX_JSON, JsonBody, JsonLines
from gateway.normal_json import NormalJson
from gateway.normal_stream import NormalStream
from gateway.readings import Path, Readings
from gateway.request_usage import Asked
from gateway.unpacking import Unreadable
from metering.quantities import Kind, Quantities, compact, kind_of
from metering.usage import Grade, Quantity

_MAX_WAYS: Final = 256
_TOKENS: Final = frozenset({"tokens_in", "tokens_out", "tokens_total"})
# Whoever names one of these wants to know when a reply lacks tokens; of the others it may well.
_OF_TOKENS: Final = frozenset({"openai", "anthropic", "gemini", "ollama", "cohere", "mistral"})
_MAY_BE_KNOWN: Final = ("tokens_out", "tokens_total")
_EMBEDDINGS: Final = ("/embeddings", "/embed")
_NOTHING: Final[Mapping[str, Quantity]] = {}


class Body(Protocol):
    """Reads the body of a reply and returns what the client gets of it."""

    def feed(self, chunk: bytes) -> bytes:
        """What the client gets now. Raises Unreadable."""

    def finish(self) -> bytes:
        """What was held back."""


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
    counts_itself: bool = False  # what is counted in the request outranks what the reply says


@dataclass(frozen=True, slots=True)
class UsagePlan:
    """How usage is read on one route.

    `paths`: a custom meter's JSON keys, from "$.usage.pages". `asked`: meters of the request's body.
    `expected`: the meters that are sold on the route and must come from one of the two (never requests
    or bytes). `inject`: may ask for usage. `normalize`: the client gets it as KooGallery wants it.
    """

    dialect: Dialect = "auto"
    paths: Mapping[str, Path] = field(default_factory=dict)
    asked: Mapping[str, Asked] = field(default_factory=dict)
    expected: frozenset[str] = frozenset()
    inject: bool = True
    normalize: bool = False
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

    Bytes pass through unchanged, except that an injected usage event is taken out again, and that
    usage is written as KooGallery wants it where the plan says so.
    `path` is the request's, the other bytes are header values of the reply.
    """

    __slots__ = (
        "_body",
        "_complete",
        "_path",
        "_readings",
        "_unpacker",
        "_way",
    )

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
        _, make, coding, _, _ = self._way = way
        self._readings = Readings(plan.dialect, plan.paths)
        self._complete = False
        self._unpacker = decoding.unpacker(coding) if coding else None
        self._body = None if make is None else make(self._readings)

    @property
    def raw(self) -> bytes:
        """The first 2 KiB of the last usage object seen, as it stood in the reply, for audit."""
        return self._readings.raw

    def reader(self) -> Callable[[bytes], bytes]:
        """What does as `feed` does until `finish`, at less cost where nothing can go wrong."""
        body = self._body
        if self._unpacker is None and isinstance(body, EventStream | StrippedStream | NormalStream):
            return body.feed
        return self.feed

    def feed(self, chunk: bytes) -> bytes:
        """What to hand on to the client now; may be b""."""
        if self._body is None or not chunk:
            return chunk
        try:
            if self._unpacker is None:
                return self._body.feed(chunk)
            for piece in self._unpacker.feed(chunk):
                self._body.feed(piece)
        except Unreadable:
            self._give_up()
        return chunk

    def finish(self, *, complete: bool) -> bytes:
        """Bytes that were held back. `complete`: the reply ended as its framing said, it was not cut."""
        body, self._body = self._body, None
        if body is None:
            return b""
        self._complete = complete and (self._unpacker is None or self._unpacker.whole)
        return body.finish()

    def so_far(self) -> Quantities:
        """What was reported until now."""
        return self._readings.quantities(complete=False)

    def quantities(self, asked: Mapping[str, Quantity] = _NOTHING) -> Quantities:
        """After `finish`: the meters read from the reply, and the expected ones that were not found.

        `asked` was counted in the request. What the reply says of it counts before, but not in
        KooGallery's own table, where the gateway counts.
        """
        read = self._readings.quantities(complete=self._complete)
        if asked:
            both = {**read, **asked} if self._way.counts_itself else {**asked, **read}
            read = compact(both)
        expected = self._way.expected
        absent = expected and expected.difference(read.kind.index)
        if not absent:
            return read
        return compact({**read, **{meter: self._absent(meter, read) for meter in sorted(absent)}})

    def _give_up(self) -> None:
        """What was read until here came from bytes that turned out not to be trustworthy."""
        self._body = None
        self._readings.clear()

    def _absent(self, meter: str, read: Mapping[str, Quantity]) -> Quantity:
        tokens_in = read.get("tokens_in")
        if tokens_in is None or "tokens_out" in read or meter not in _MAY_BE_KNOWN:
            return Quantity(0, Grade.MISSING)
        # An embedding has no output, so nobody reports it; that it is zero is known all the same.
        embeds = self._path.partition("?")[0].endswith(_EMBEDDINGS)
        if not embeds and tokens_in != read.get("tokens_total"):
            return Quantity(0, Grade.MISSING)
        return tokens_in if meter == "tokens_total" else Quantity(0, tokens_in.grade)


def _way(plan: UsagePlan, content_type: bytes, content_encoding: bytes, *, injected: bool) -> _Way:
    json = decoding.is_json(content_type)
    lines, events = decoding.is_json_lines(content_type), decoding.is_event_stream(content_type)
    readable = json or lines or events
    expected = plan.expected
    if plan.dialect in _OF_TOKENS and readable:
        expected |= _TOKENS
    packed = False
    try:
        packed = decoding.unpacker(content_encoding) is not None
    except Unreadable:
        readable = False
    if plan.dialect == "none" or not readable:
        return _Way(expected, None, b"")  # only what is counted in the request is known
    normal = plan.normalize and not packed
    keys = _keys(plan)
    make: Callable[[Readings], Body]
    if json:
        make = NormalJson if normal else JsonBody
    elif lines:
        make = partial(JsonLines, keys=keys)
    elif normal:
        make = partial(NormalStream, keys=keys)
    else:
        make = partial(StrippedStream if injected and not packed else EventStream, keys=keys)
    plain = json and not (packed or normal)
    usual = plain and not (plan.paths or plan.asked) and expected <= _TOKENS
    coding = content_encoding if packed else b""
    return _Way(expected, make, coding, usual, plan.dialect == "koogallery")


def _keys(plan: UsagePlan) -> list[str]:
    """What is looked for in streams besides the known usage."""
    keys = [path.keys[-1] for path in plan.paths.values()]
    return [*keys, "billed_units"] if plan.dialect == "cohere" else keys
