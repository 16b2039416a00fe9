"""Deltas: what a run of records adds up to, per window, instance or customer, and meter.

One delta is one field of a partition's Redis hash and, later, one row of the ledger. Pure.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import compress
from typing import NamedTuple, TypeAlias

from metering.quantities import Kind, Quantities, compact, summed
from metering.usage import Charge, Grade, UsageRecord
from metering.windows import Window, window_of

# Window, customer, route, charges, kind of quantities.
_Group: TypeAlias = tuple[Window, str, str, tuple[Charge, ...], Kind]
_Rows: TypeAlias = tuple[_Group, list[tuple[int, ...]]]

_SEPARATOR = "\x1f"  # ids are checked to hold no control characters
_RS = "\x1e"
_GS = "\x1d"
PREFIX = "d" + _SEPARATOR


class DeltaKey(NamedTuple):
    """What is counted. `instance_id` is empty for the total of the customer on the route."""

    window: Window
    customer_id: str
    instance_id: str
    route: str
    meter: str
    grade: Grade


def encode(key: DeltaKey) -> str:
    """The Redis hash field of a delta."""
    return PREFIX + _SEPARATOR.join(
        (str(key.window), key.customer_id, key.instance_id, key.route, key.meter, key.grade)
    )


def decode(field: str) -> DeltaKey:
    """The inverse of `encode`. Raises ValueError for a field that is no delta."""
    if not field.startswith(PREFIX):
        raise ValueError(f"not a delta field: {field!r}")
    window, customer, instance, route, meter, grade = field[len(PREFIX) :].split(_SEPARATOR)
    return DeltaKey(Window(int(window)), customer, instance, route, meter, Grade(grade))


class Deltas(Mapping[DeltaKey, int]):
    """The deltas of a run of records, summed while they still stand together as they were used.

    What is sent needs no keys; they are made for whoever asks for them.
    """

    __slots__ = ("_keyed", "_sums")

    def __init__(self, sums: Sequence[tuple[_Group, tuple[int, ...]]]) -> None:
        self._sums = sums
        self._keyed: dict[DeltaKey, int] | None = None

    def __getitem__(self, key: DeltaKey) -> int:
        return self._by_key()[key]

    def __iter__(self) -> Iterator[DeltaKey]:
        return iter(self._by_key())

    def __len__(self) -> int:
        return len(self._by_key())

    def __repr__(self) -> str:
        return f"Deltas({self._by_key()!r})"

    def _by_key(self) -> dict[DeltaKey, int]:
        if self._keyed is None:
            total: dict[DeltaKey, int] = {}
            for group, amounts in self._sums:
                for key, value in _deltas_of(group, amounts):
                    if value:
                        total[key] = total.get(key, 0) + value
            self._keyed = total
        return self._keyed

    def texts(self) -> Iterator[str]:
        """What `encode_all` joins."""
        for (window, customer, route, charges, kind), amounts in self._sums:
            whole, texts = _templates(kind)
            if 0 not in amounts:
                used = whole % amounts
            else:
                used = "".join(compress(texts, amounts)) % tuple(filter(None, amounts))
            if used:
                yield _text_of(window, customer, "", route, used)
            for instance_id, meter in charges:
                at = kind.index.get(meter)
                if at is not None and amounts[at]:
                    used = texts[at] % amounts[at]
                    yield _text_of(window, customer, instance_id, route, used)


def deltas_of(record: UsageRecord) -> Iterator[tuple[DeltaKey, int]]:
    """The deltas of one record: each charge, and each meter once for the customer."""
    used = compact(record.quantities)
    window = window_of(record.time_ms)
    group = (window, record.customer_id, record.route, record.charges, used.kind)
    return _deltas_of(group, used.amounts)


def merge(records: Iterable[UsageRecord]) -> Deltas:
    """The sum of many records; zeros are left out."""
    # Charges are nearly always the same object for a customer, and slow to hash.
    groups: dict[tuple[Window, str, str, int, Kind], _Rows] = {}
    for record in records:
        used = record.quantities
        if type(used) is not Quantities:
            used = compact(used)
        window, customer, route = window_of(record.time_ms), record.customer_id, record.route
        charges, kind = record.charges, used.kind
        rows = groups.get((window, customer, route, id(charges), kind))
        if rows is None:
            group = (window, customer, route, charges, kind)
            groups[window, customer, route, id(charges), kind] = (group, [used.amounts])
        else:
            rows[1].append(used.amounts)
    return Deltas([(group, summed(rows)) for group, rows in groups.values()])


def encode_all(deltas: Mapping[DeltaKey, int]) -> str:
    """Deltas as one argument of the script: fields that begin alike stand together.

    text = (field's begin, RS, (field's rest, RS, quantity, RS)…, GS)…

    A field may stand there several times; then it is all of these quantities.
    """
    if isinstance(deltas, Deltas):
        return "".join(deltas.texts())
    return "".join(
        _text_of(
            key.window,
            key.customer_id,
            key.instance_id,
            key.route,
            f"{key.meter}{_SEPARATOR}{key.grade}{_RS}{value}{_RS}",
        )
        for key, value in deltas.items()
    )


def _deltas_of(group: _Group, amounts: tuple[int, ...]) -> Iterator[tuple[DeltaKey, int]]:
    """Each charge, and each meter once for the customer."""
    window, customer, route, charges, kind = group
    for meter, grade, value in zip(kind.meters, kind.grades, amounts, strict=True):
        yield DeltaKey(window, customer, "", route, meter, grade), value
    for instance_id, meter in charges:
        at = kind.index.get(meter)
        if at is not None:
            key = DeltaKey(window, customer, instance_id, route, meter, kind.grades[at])
            yield key, amounts[at]


def _text_of(window: Window, customer: str, instance: str, route: str, used: str) -> str:
    begin = f"{PREFIX}{window}{_SEPARATOR}{customer}{_SEPARATOR}{instance}{_SEPARATOR}{route}"
    return f"{begin}{_SEPARATOR}{_RS}{used}{_GS}"


@lru_cache(maxsize=4096)
def _templates(kind: Kind) -> tuple[str, tuple[str, ...]]:
    """A template for the quantities of all meters, and one for each."""
    each = tuple(
        f"{meter}{_SEPARATOR}{grade}".replace("%", "%%") + f"{_RS}%d{_RS}"
        for meter, grade in zip(kind.meters, kind.grades, strict=True)
    )
    return "".join(each), each
