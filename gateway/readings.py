"""What has been read from one reply so far, field by field, the last value winning. Pure."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from itertools import compress
from operator import itemgetter
from typing import Any, Final, NamedTuple

import msgspec

from gateway import amounts, dialects, known_usage, lenient
from gateway.amounts import Counts, Dialect
from metering.quantities import Kind, Quantities, compact, kind_of
from metering.usage import Grade, Quantity

RAW_LIMIT: Final = 2048

_NOTHING: Final = compact({})


class Path(NamedTuple):
    """Where a custom meter's number stands; the meter counts `times` as many."""

    keys: tuple[str, ...]
    times: int = 1


class Readings:
    """Takes the documents of a reply (its JSON body, or the data of its events) and merges them."""

    __slots__ = ("_counts", "_custom", "_dialect", "_ended", "_last", "_paths", "_stated")

    def __init__(self, dialect: Dialect, paths: Mapping[str, Path]) -> None:
        self._dialect = dialect
        self._paths = paths
        self._counts: Counts | None = None  # of the only usage seen; of several see _stated
        self._stated: dict[str, int] | None = None
        self._custom: dict[str, int] | None = None
        self._ended: bool | None = None  # None: the stream says nothing of its end
        self._last: bytes | msgspec.Raw = b""  # the last usage seen, or the document around it

    def clear(self) -> None:
        """Forgets everything: the reply turned out to be unreadable."""
        self._counts = self._stated = self._custom = self._ended = None
        self._last = b""

    @property
    def raw(self) -> bytes:
        """The start of the last usage object seen, as it stood."""
        last = self._last
        if last and isinstance(last, bytes):
            reply = dialects.decode(last)
            last = b"" if reply is None else reply.usage
        return bytes(memoryview(last)[:RAW_LIMIT])

    def see(self, document: bytes) -> None:
        """Reads one document; what is not understood is passed over."""
        known = None
        if self._counts is None and self._stated is None:
            known = known_usage.known(document)
        if known is not None:
            self._counts, ended = known
            self._last = document
        else:
            ended = self._see_all(document)
        if ended is not None:
            self._ended = ended
        if self._paths:
            self._see_custom(document)

    def _see_all(self, document: bytes) -> bool | None:
        """Reads a document that may be written in any way; whether the usage is final now."""
        reply = dialects.decode(document)
        if reply is None:
            return None
        reported = False
        for fields, raw in dialects.stated(reply, self._dialect):
            if self._stated is None:
                self._stated = {} if self._counts is None else self._counts.stated()
            self._stated.update(fields)
            self._last = raw
            reported = reported or bool(fields)
        return dialects.final(reply, reported=reported)

    def _see_custom(self, document: bytes) -> None:
        for meter, (path, times) in self._paths.items():
            value = lenient.quantity_at(document, path, times)
            if value is not None:
                self._custom = {**(self._custom or {}), meter: value}

    def end(self) -> None:
        """The stream said that it is over: what was reported is final."""
        self._ended = True

    def quantities(self, *, complete: bool) -> Quantities:
        """The meters read (a custom one outranks a built-in one); `complete`: the reply came whole."""
        # A stream that announced more (Anthropic's message_start) and ended without it is cut,
        # however well-formed its HTTP was: its output count is only a placeholder.
        exact = self._ended or (complete and self._ended is None)
        stated = self._stated
        if stated is not None and not stated.keys() <= amounts.COUNTED:
            read = amounts.meters(stated, self._dialect)
            kind = kind_of(tuple(read), (_grade(exact),) * len(read))
            quantities = Quantities(kind, tuple(read.values()))
        elif stated is not None:
            quantities = self._of_counts(Counts(**stated), exact)
        elif self._counts is not None:
            quantities = self._of_counts(self._counts, exact)
        else:
            quantities = _NOTHING
        return quantities if self._custom is None else self._with_custom(quantities, exact)

    def _of_counts(self, counts: Counts, exact: bool) -> Quantities:
        a, b, c, d, e = read = amounts.amounts(counts, self._dialect)
        kind, pick = _reading(
            (a is not None, b is not None, c is not None, d is not None, e is not None), exact
        )
        return Quantities(kind, pick(read))

    def _with_custom(self, read: Quantities, exact: bool) -> Quantities:
        grade = _grade(exact)
        custom = self._custom or {}
        return compact({**read, **{m: Quantity(value, grade) for m, value in custom.items()}})


@lru_cache(maxsize=64)
def _reading(known: tuple[bool, ...], exact: bool) -> tuple[Kind, Callable[[Any], Any]]:
    """The kind of quantities where these of METERS were read, and what picks their amounts."""
    at = tuple(compress(range(len(known)), known))
    kind = kind_of(tuple(amounts.METERS[i] for i in at), (_grade(exact),) * len(at))
    return kind, itemgetter(*at) if len(at) > 1 else lambda read: tuple(read[i] for i in at)


def _grade(exact: bool) -> Grade:
    return Grade.EXACT if exact else Grade.PARTIAL
