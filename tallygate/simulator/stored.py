"""A usage record as it was received, and what became of it. Small, for there are many."""

from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from sys import intern
from typing import Final

from .sdr import Refused, read_usage

FIELDS: Final = (
    "begin_time",
    "end_time",
    "instance_id",
    "metering_sn",
    "product_id",
    "record_time",
    "relate_pkg_instance",
    "usage_value",
)
_OFTEN_EQUAL: Final = frozenset(FIELDS) - {"metering_sn", "usage_value"}
_RECORD_TIME: Final = FIELDS.index("record_time")
_USAGE: Final = FIELDS.index("usage_value")
_INSTANCE: Final = FIELDS.index("instance_id")


class State(StrEnum):
    """What became of a record."""

    PENDING = "pending"  # received; the background validation has not come to it
    VALID = "valid"  # a usable SDR, waiting for its collection
    COLLECTED = "collected"  # in a bill, and never taken back
    REFUSED = "refused"
    DUPLICATE = "duplicate"  # another record already charges this interval
    REPEAT = "repeat"  # the same record sent again: harmless


class StoredRecord:
    """One usage record.

    `deducted` are the packages that paid for it and how much each; `late` says that the bill in
    which it belongs was made without it.
    """

    __slots__ = (
        "collected_ms",
        "deducted",
        "late",
        "reason",
        "received_ms",
        "state",
        "values",
    )

    def __init__(self, record: Mapping[str, object], received_ms: int) -> None:
        self.values = tuple(_kept(name, record.get(name)) for name in FIELDS)
        self.received_ms = received_ms
        self.state = State.PENDING
        self.reason = ""
        self.collected_ms: int | None = None
        self.late = False
        self.deducted: tuple[tuple[str, Decimal], ...] = ()

    @property
    def record(self) -> Mapping[str, object]:
        """As it came; members that were null are absent."""
        pairs = zip(FIELDS, self.values, strict=True)
        return {name: value for name, value in pairs if value is not None}

    @property
    def identity(self) -> tuple[object, ...]:
        """Equal for a record sent twice; the time of making it is no part of it."""
        values = self.values
        return *values[:_RECORD_TIME], *values[_RECORD_TIME + 1 : _USAGE], str(values[_USAGE])

    @property
    def instance_id(self) -> str:
        return str(self.values[_INSTANCE])

    @property
    def usage(self) -> Decimal:
        """0 when the value cannot be read."""
        try:
            return read_usage(self.values[_USAGE])
        except Refused:
            return Decimal(0)

    def as_json(self) -> dict[str, object]:
        return {
            **self.record,
            "state": self.state.value,
            "reason": self.reason,
            "received_ms": self.received_ms,
            "collected_ms": self.collected_ms,
            "late": self.late,
            "deducted": {package: str(quantity) for package, quantity in self.deducted},
        }


def _kept(name: str, value: object) -> object:
    """Times and ids repeat from record to record: one copy of each does."""
    return intern(value) if name in _OFTEN_EQUAL and type(value) is str else value
