"""Deltas: what a run of records adds up to, per window, instance or customer, and meter.

One delta is one field of a partition's Redis hash and, later, one row of the ledger. Pure.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import compress
from operator import itemgetter
from typing import NamedTuple, TypeAlias

import msgspec

from metering.quantities import Kind, Quantities, compact, summed
from metering.usage import Account, Grade, UsageRecord
from metering.windows import Window, window_of

_Group: TypeAlias = tuple[Window, Account, Kind]
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


class Booked(msgspec.Struct, frozen=True, gc=False):
    """What of a record is still wanted when it is written down: thousands of them are kept."""

    account: Account
    kind: Kind
    amounts: tuple[int, ...]
    time_ms: int


def booked(record: UsageRecord) -> Booked:
    """What a record adds to the sums."""
    used = record.quantities
    if type(used) is not Quantities:
        used = compact(used)
    return Booked(record.account, used.kind, used.amounts, record.time_ms)


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
        for (window, account, kind), amounts in self._sums:
            if 0 in amounts:
                yield from _without_zeros(window, account, kind, amounts)
                continue
            booking: _Booking | None = account.booking
            if booking is None or booking.kind is not kind or booking.window != window:
                booking = _book(window, account, kind)
            yield booking.text % booking.order(account.named + amounts)


class _Booking(NamedTuple):
    """How sums of one kind are written in one window. One for all customers."""

    kind: Kind
    window: Window
    text: str  # with places for names and quantities
    order: Callable[[tuple[str | int, ...]], tuple[str | int, ...]]  # in which they stand there


def _book(window: Window, account: Account, kind: Kind) -> _Booking:
    charged = [charge for charge in account.charges if charge.meter in kind.index]
    positions = tuple([kind.index[charge.meter] for charge in charged])
    booking = account.booking = _booking(window, account.route, kind, positions)
    account.named = (account.customer_id, *[charge.instance_id for charge in charged])
    return booking


@lru_cache(maxsize=4096)
def _booking(window: Window, route: str, kind: Kind, charged: tuple[int, ...]) -> _Booking:
    """Names come first, the customer's before those of instances; then all quantities."""
    whole, texts = _templates(kind)
    told = _begin(window, "\0", "", route).replace("%", "%%").replace("\0", "%s") + whole + _GS
    first = 1 + len(charged)
    order = [0, *range(first, first + len(texts))]
    begin = _begin(window, "\0", "\0", route).replace("%", "%%").replace("\0", "%s")
    for number, at in enumerate(charged, start=1):
        told += begin + texts[at] + _GS
        order += [0, number, first + at]
    return _Booking(kind, window, told, itemgetter(*order))


def _without_zeros(
    window: Window, account: Account, kind: Kind, amounts: tuple[int, ...]
) -> Iterator[str]:
    _, texts = _templates(kind)
    used = "".join(compress(texts, amounts)) % tuple(filter(None, amounts))
    if used:
        yield _field(window, account, "", used)
    for instance_id, meter in account.charges:
        at = kind.index.get(meter)
        if at is not None and amounts[at]:
            yield _field(window, account, instance_id, texts[at] % amounts[at])


def deltas_of(record: UsageRecord) -> Iterator[tuple[DeltaKey, int]]:
    """The deltas of one record: each charge, and each meter once for the customer."""
    used = compact(record.quantities)
    window = window_of(record.time_ms)
    return _deltas_of((window, record.account, used.kind), used.amounts)


class Merging:
    """The sum of many records, a few at a time; zeros are left out."""

    def __init__(self) -> None:
        # An account is nearly always the same object for a customer, and slow to hash.
        self._groups: dict[tuple[Window, int, Kind], _Rows] = {}

    def add(self, several: Iterable[Booked]) -> None:
        """Count these too."""
        groups = self._groups
        for each in several:
            window, account, kind = window_of(each.time_ms), each.account, each.kind
            key = (window, id(account), kind)
            rows = groups.get(key)
            if rows is None:
                groups[key] = ((window, account, kind), [each.amounts])
            else:
                rows[1].append(each.amounts)

    def deltas(self) -> Deltas:
        """What they add up to."""
        return Deltas([(group, summed(rows)) for group, rows in self._groups.values()])


def merge(records: Iterable[UsageRecord]) -> Deltas:
    """The sum of many records; zeros are left out."""
    merging = Merging()
    merging.add(map(booked, records))
    return merging.deltas()


def encode_all(deltas: Mapping[DeltaKey, int]) -> str:
    """Deltas as one argument of the script: fields that begin alike stand together.

    text = (field's begin, RS, (field's rest, RS, quantity, RS)…, GS)…

    A field may stand there several times; then it is all of these quantities.
    """
    if isinstance(deltas, Deltas):
        return "".join(deltas.texts())
    return "".join(
        _begin(key.window, key.customer_id, key.instance_id, key.route)
        + f"{key.meter}{_SEPARATOR}{key.grade}{_RS}{value}{_RS}{_GS}"
        for key, value in deltas.items()
    )


def _deltas_of(group: _Group, amounts: tuple[int, ...]) -> Iterator[tuple[DeltaKey, int]]:
    """Each charge, and each meter once for the customer."""
    window, account, kind = group
    customer, route, charges = account.customer_id, account.route, account.charges
    for meter, grade, value in zip(kind.meters, kind.grades, amounts, strict=True):
        yield DeltaKey(window, customer, "", route, meter, grade), value
    for instance_id, meter in charges:
        at = kind.index.get(meter)
        if at is not None:
            key = DeltaKey(window, customer, instance_id, route, meter, kind.grades[at])
            yield key, amounts[at]


def _field(window: Window, account: Account, instance: str, used: str) -> str:
    return _begin(window, account.customer_id, instance, account.route) + used + _GS


def _begin(window: Window, customer: str, instance: str, route: str) -> str:
    begin = f"{PREFIX}{window}{_SEPARATOR}{customer}{_SEPARATOR}{instance}{_SEPARATOR}{route}"
    return f"{begin}{_SEPARATOR}{_RS}"


@lru_cache(maxsize=4096)
def _templates(kind: Kind) -> tuple[str, tuple[str, ...]]:
    """A template for the quantities of all meters, and one for each."""
    each = tuple(
        f"{meter}{_SEPARATOR}{grade}".replace("%", "%%") + f"{_RS}%d{_RS}"
        for meter, grade in zip(kind.meters, kind.grades, strict=True)
    )
    return "".join(each), each
