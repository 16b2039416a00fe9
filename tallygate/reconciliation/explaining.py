"""The words of an explanation: a request and what became of it, a usage record and what is behind it. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from billing_sync.finding_models import FindingRow
from billing_sync.models import Instance, UsageRecord
from billing_sync.store.explaining import Adjusted, DrainedBy
from metering.lanes import Entry
from metering.usage import Quantity
from tallygate.reconciliation.searching import Hit, OpenHit


class Stands(StrEnum):
    """How far a record has come."""

    JOURNAL = "journal"
    REDIS = "redis"
    LEDGER = "ledger"


class Booked(NamedTuple):
    """The hour that use is billed in, and its mark: late, clock, or none."""

    window: int
    mark: str


class Carried(NamedTuple):
    """A usage record, and how much of an hour's use it carries."""

    record: UsageRecord
    quantity: int


class Account(NamedTuple):
    """One instance's use of one meter in one hour, as the ledger has it; `assigned` of it was charged
    by a person, `buckets` are the instance's in the hours it is billed in.

    `carried` are the usage records with some of it, `waiting` is what waits for the next one below
    four decimals, `unrecorded` what no record or bucket has yet.
    """

    window: int
    held: int
    booked: Sequence[Booked]
    carried: Sequence[Carried]
    waiting: int
    unrecorded: int
    assigned: int = 0
    buckets: Mapping[str, int] = {}


class Assigned(NamedTuple):
    """What a person charged to an instance of an hour that had matched none."""

    instance_id: str
    meter: str
    quantity: int


@dataclass(frozen=True)
class Charged:
    """What one instance was charged for a request, and its hour's account.

    `booked` is where it stands in the ledger: one place, or each that may be it where some of the
    hour came late. `source` is the instance's, "" for one that the ledger does not know.
    """

    instance_id: str
    meter: str
    quantity: Quantity
    source: str
    booked: Sequence[Booked]
    account: Account


@dataclass(frozen=True)
class Placed:
    """A record of a request, and how far it has come. `redis_read` is False while Redis is away.

    `assigned` is of its customer's use of its route in that hour, which it is part of.
    """

    hit: Hit
    stands: Stands
    redis_read: bool
    drain: DrainedBy | None
    charged: Sequence[Charged]
    assigned: Sequence[Assigned] = ()


@dataclass(frozen=True)
class RequestExplained:
    """Everything about a request id. `open` are slots without a record."""

    request_id: str
    records: Sequence[Placed]
    open: Sequence[OpenHit]
    findings: Sequence[FindingRow]

    @property
    def known(self) -> bool:
        """Whether anybody has heard of it."""
        return bool(self.records or self.open or self.findings)


class Hour(NamedTuple):
    """The use of one hour behind a usage record.

    `calls` and `journal` are those in the journals of this disk, `pending` is what Redis holds
    besides the account; `here` is the part that this record carries.
    """

    account: Account
    calls: int
    journal: int
    pending: int
    here: int

    @property
    def others(self) -> int:
        """What other records carry."""
        return sum(carried.quantity for carried in self.account.carried) - self.here

    @property
    def lacking(self) -> bool:
        """Whether the journals of this disk hold less than was counted for the hour."""
        return self.journal < self.account.held - self.account.assigned + self.pending


@dataclass(frozen=True)
class RecordExplained:
    """A usage record and what is behind it: `first` are the earliest calls.

    `netted` is what its value says besides the usage it carries, in ten-thousandths of the meter's
    unit: remainders of records before it, less its own, and adjustments. `packages` gave to the
    hours it is of.

    `covered_from` is the first hour of which the journals of this disk still have everything.
    """

    record: UsageRecord
    instance: Instance | None
    hours: Sequence[Hour]
    buckets: Mapping[str, int]
    first: Sequence[Entry]
    redis_read: bool
    covered_from: int
    netted: int = 0
    adjustments: Sequence[Adjusted] = ()
    packages: Mapping[str, int] = field(default_factory=dict)

    @property
    def siblings(self) -> list[UsageRecord]:
        """Other usage records with use of the same hours, oldest first."""
        found = {
            carried.record.metering_sn: carried.record
            for hour in self.hours
            for carried in hour.account.carried
            if carried.record.metering_sn != self.record.metering_sn
        }
        return sorted(found.values(), key=lambda record: record.begin)
