"""What one request used, held small: thousands a second are made, summed and kept in memory. Pure.

Most replies of a route agree in their meters and grades, so those are shared (`Kind`), and a
request's own are only its amounts. To everyone else it is a mapping from meter to `Quantity`.
"""

from abc import ABCMeta
from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from metering.usage import Grade, Quantity

_MAX_KINDS: Final = 4096  # remembered; a kind made twice is only slower
_BULK: Final = 256  # amounts that wait to be summed: cheaper together


class Kind:
    """Meters and their grades, in order. Made by `kind_of` alone, so it is compared by identity."""

    __slots__ = ("_joined", "grades", "index", "meters", "missing")

    def __init__(self, meters: tuple[str, ...], grades: tuple[Grade, ...]) -> None:
        self.meters = meters
        self.grades = grades
        self.index: Mapping[str, int] = {meter: at for at, meter in enumerate(meters)}
        self.missing = Grade.MISSING in grades
        self._joined: dict[Kind, Kind | None] = {}

    def __repr__(self) -> str:
        return f"Kind({self.meters!r}, {[str(grade) for grade in self.grades]!r})"

    def followed_by(self, other: "Kind") -> "Kind | None":
        """The kind of both one after the other; None where they have a meter in common."""
        try:
            return self._joined[other]
        except KeyError:
            pass
        joined = None
        if not self.index.keys() & other.index.keys():
            joined = kind_of(self.meters + other.meters, self.grades + other.grades)
        if len(self._joined) >= _MAX_KINDS:
            self._joined.clear()
        self._joined[other] = joined
        return joined


_kinds: Final[dict[tuple[tuple[str, ...], tuple[Grade, ...]], Kind]] = {}


def kind_of(meters: tuple[str, ...], grades: tuple[Grade, ...]) -> Kind:
    """The kind of these meters and grades, the same object each time as far as it is remembered."""
    key = (meters, grades)
    kind = _kinds.get(key)
    if kind is None:
        if len(_kinds) >= _MAX_KINDS:
            _kinds.clear()
        kind = _kinds[key] = Kind(meters, grades)
    return kind


class _Meta(msgspec.StructMeta, ABCMeta):
    """A struct that is a mapping."""


class Quantities(
    msgspec.Struct, Mapping[str, Quantity], frozen=True, gc=False, eq=False, metaclass=_Meta
):
    """Quantities by meter; `amounts` stand in the order of the kind's meters."""

    kind: Kind
    amounts: tuple[int, ...]

    def __getitem__(self, meter: str) -> Quantity:
        at = self.kind.index[meter]
        return Quantity(self.amounts[at], self.kind.grades[at])

    def __iter__(self) -> Iterator[str]:
        return iter(self.kind.meters)

    def __len__(self) -> int:
        return len(self.amounts)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Quantities) and self.kind is other.kind:
            return self.amounts == other.amounts
        return isinstance(other, Mapping) and dict(self.items()) == dict(other.items())

    __hash__ = None  # type: ignore[assignment]  # as a dict: equal ones may be of another kind

    def __repr__(self) -> str:
        return f"Quantities({dict(self.items())!r})"

    def behind(self, kind: Kind, amounts: tuple[int, ...]) -> "Quantities":
        """Others, followed by these; where both state a meter, these count."""
        joined = kind.followed_by(self.kind)
        if joined is not None:
            return Quantities(joined, amounts + self.amounts)
        return compact({**Quantities(kind, amounts), **self})


def compact(quantities: Mapping[str, Quantity]) -> Quantities:
    """The same, held small."""
    if type(quantities) is Quantities:
        return quantities
    values = quantities.values()
    kind = kind_of(tuple(quantities), tuple([grade for _, grade in values]))
    return Quantities(kind, tuple([value for value, _ in values]))


def summed(rows: list[tuple[int, ...]]) -> tuple[int, ...]:
    """The sum of amounts of one kind; at least one row."""
    return rows[0] if len(rows) == 1 else tuple(map(sum, zip(*rows, strict=True)))


class Tally:
    """Counts and sums of very many quantities."""

    __slots__ = ("_done", "_waiting")

    def __init__(self) -> None:
        self._waiting: dict[Kind, list[tuple[int, ...]]] = {}
        self._done: dict[Kind, tuple[int, tuple[int, ...]]] = {}

    def add(self, quantities: Quantities) -> bool:
        """Count these. Whether their kind is new here."""
        kind, amounts = quantities.kind, quantities.amounts
        try:
            waiting = self._waiting[kind]
        except KeyError:
            self._waiting[kind] = [amounts]
            return True
        waiting.append(amounts)
        if len(waiting) >= _BULK:
            self._fold(kind)
        return False

    def by_kind(self) -> Mapping[Kind, tuple[int, tuple[int, ...]]]:
        """Of each kind how often it came, and the sums in the order of its meters."""
        for kind, waiting in self._waiting.items():
            if waiting:
                self._fold(kind)
        return self._done

    def by_meter(self) -> dict[str, int]:
        """The sum of each meter."""
        total: dict[str, int] = {}
        for kind, (_, sums) in self.by_kind().items():
            for meter, value in zip(kind.meters, sums, strict=True):
                total[meter] = total.get(meter, 0) + value
        return total

    def _fold(self, kind: Kind) -> None:
        waiting = self._waiting[kind]
        count, sums = self._done.get(kind, (0, None))
        sum_here = summed(waiting if sums is None else [sums, *waiting])
        self._done[kind] = (count + len(waiting), sum_here)
        waiting.clear()
