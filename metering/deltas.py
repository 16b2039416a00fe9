"""Deltas: what a run of records adds up to, per window, instance or customer, and meter.

One delta is one field of a partition's Redis hash and, later, one row of the ledger. Pure.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from metering.usage import Grade, UsageRecord
from metering.windows import Window, window_of

_SEPARATOR = "\x1f"  # ids are checked to hold no control characters
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


def deltas_of(record: UsageRecord) -> Iterable[tuple[DeltaKey, int]]:
    """The deltas of one record: each charge, and each meter once for the customer."""
    window = window_of(record.time_ms)
    for meter, quantity in record.quantities.items():
        yield (
            DeltaKey(window, record.customer_id, "", record.route, meter, quantity.grade),
            quantity.value,
        )
    for instance_id, meter in record.charges:
        charged = record.quantities.get(meter)
        if charged is not None:
            yield (
                DeltaKey(
                    window, record.customer_id, instance_id, record.route, meter, charged.grade
                ),
                charged.value,
            )


def merge(records: Iterable[UsageRecord]) -> dict[DeltaKey, int]:
    """The sum of many records; zeros are left out."""
    total: dict[DeltaKey, int] = {}
    for record in records:
        for key, value in deltas_of(record):
            if value:
                total[key] = total.get(key, 0) + value
    return total


def encode_all(deltas: Mapping[DeltaKey, int]) -> dict[str, int]:
    """Deltas as Redis hash fields."""
    return {encode(key): value for key, value in deltas.items()}
