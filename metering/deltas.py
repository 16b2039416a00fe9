"""Deltas: what a run of records adds up to, per window, instance or customer, and meter.

One delta is one field of a partition's Redis hash and, later, one row of the ledger. Pure.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple, TypeAlias

import msgspec

from metering.quantities import Kind, Quantities, compact, summed
from metering.usage import Account, Grade, UsageRecord
from metering.windows import Window, window_of

_Group: TypeAlias = tuple[Window, Account, Kind]
_Rows: TypeAlias = tuple[_Group, list[tuple[int, ...]]]
_Row: TypeAlias = tuple[int | str, ...]

_SEPARATOR = "\x1f"  # ids are checked to hold no control characters
PREFIX = "d" + _SEPARATOR
_EXACT = 2**53  # below it doubles are
_encoder = msgspec.msgpack.Encoder()


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

    def packed(self) -> bytes:
        """What `pack` says, without making a key."""
        groups: dict[int, tuple[_Booking, set[str], list[_Row]]] = {}
        repeated = False
        for (window, account, kind), amounts in self._sums:
            booking: _Booking | None = account.booking
            if booking is None or booking.kind is not kind or booking.window != window:
                booking = _book(window, account, kind)
            group = groups.get(id(booking))
            if group is None:
                group = groups[id(booking)] = (booking, set(), [])
                repeated = repeated or booking.repeated or len(groups) > 1
            _, customers, rows = group
            customers.add(account.customer_id)
            rows.append(
                account.named + (amounts if max(amounts, default=0) < _EXACT else _texts(amounts))
            )
        told = [(*booking.told, rows) for booking, _, rows in groups.values()]
        repeated = repeated or any(len(rows) != len(each) for _, each, rows in groups.values())
        return _encoder.encode((repeated, told))


class _Booking(NamedTuple):
    """How sums of one kind are written in one window. One for all customers."""

    kind: Kind
    window: Window
    told: tuple[str, str, tuple[int | str, ...]]  # how fields begin, their route, and their plan
    repeated: bool  # whether a customer's row may name a field twice


def _book(window: Window, account: Account, kind: Kind) -> _Booking:
    charged = [charge for charge in account.charges if charge.meter in kind.index]
    positions = tuple([kind.index[charge.meter] for charge in charged])
    booking = account.booking = _booking(window, account.route, kind, positions)
    account.named = (account.customer_id, *[charge.instance_id for charge in charged])
    return booking


@lru_cache(maxsize=4096)
def _booking(window: Window, route: str, kind: Kind, charged: tuple[int, ...]) -> _Booking:
    """A row holds the customer, the instance of each charge, then all quantities."""
    rests = [
        f"{meter}{_SEPARATOR}{grade}" for meter, grade in zip(kind.meters, kind.grades, strict=True)
    ]
    first = 2 + len(charged)  # counted from 1, as Lua does
    plan: list[int | str] = []
    for at, rest in enumerate(rests):
        plan += (0, rest, first + at)
    for instance, at in enumerate(charged, start=2):
        plan += (instance, rests[at], first + at)
    return _Booking(
        kind, window, (*_begin(window, route), tuple(plan)), len(set(charged)) < len(charged)
    )


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


def pack(deltas: Mapping[DeltaKey, int]) -> bytes:
    """Deltas as one argument of the script, in MessagePack: fields of one form stand together.

    argument = [whether a field may stand there several times, [group…]]
    group    = [how its fields begin, route, plan, [row…]]
    plan     = [place of the instance, the field's rest, place of the quantity, …]
    row      = [customer, instance…, quantity…]

    Each row has the fields that the plan tells: begin, customer, instance, route and rest. Places are
    counted from 1 as in Lua, 0 is no instance; a quantity of 0 is none. Quantities stand there as text
    where doubles are not exact.
    """
    if isinstance(deltas, Deltas):
        return deltas.packed()
    groups = [
        (
            *_begin(key.window, key.route),
            (2, f"{key.meter}{_SEPARATOR}{key.grade}", 3),
            [(key.customer_id, key.instance_id, value if value < _EXACT else str(value))],
        )
        for key, value in deltas.items()
    ]
    return _encoder.encode((True, groups))


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


def _begin(window: Window, route: str) -> tuple[str, str]:
    """What stands before the customer, and what after the instance."""
    return f"{PREFIX}{window}{_SEPARATOR}", f"{_SEPARATOR}{route}{_SEPARATOR}"


def _texts(amounts: tuple[int, ...]) -> tuple[int | str, ...]:
    return tuple([each if each < _EXACT else str(each) for each in amounts])
