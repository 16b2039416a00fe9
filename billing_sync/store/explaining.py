"""The SQL behind `explain`: from an hour of use to its rows and records, and from a number to its drain."""

import json
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from sqlalchemy import Table, func
from sqlmodel import Session, SQLModel, col, select

from billing_sync import origins
from billing_sync.finding_models import FindingRow
from billing_sync.models import Bucket, Carry, Drain, PackageUse, UsageRecord, UsageWindow

ASSIGNED: Final = "assigned"  # the mark of what a person assigned
_MOST_ADJUSTMENTS: Final = 100


class Used(NamedTuple):
    """One instance's use of one meter in one hour: what all questions here are about."""

    instance_id: str
    meter: str
    origin: int


class Adjusted(NamedTuple):
    """An adjustment, in the meter's unit; `at` is UTC ms."""

    id: str
    at: int
    quantity: int
    author: str
    reason: str


class DrainedBy(NamedTuple):
    """The drain that brought a record into the ledger; `at` is UTC ms."""

    id: str
    at: int


def record(session: Session, metering_sn: str) -> UsageRecord | None:
    """The usage record with this id."""
    return session.get(UsageRecord, metering_sn)


def booked(session: Session, used: Used) -> Sequence[UsageWindow]:
    """Where the use is booked: its own window, and others with a mark."""
    query = (
        select(UsageWindow)
        .where(
            UsageWindow.instance_id == used.instance_id,
            UsageWindow.meter == used.meter,
            UsageWindow.origin == used.origin,
        )
        .order_by(col(UsageWindow.window), col(UsageWindow.mark))
    )
    return session.exec(query).all()


def records_of(session: Session, used: Used) -> list[tuple[UsageRecord, int]]:
    """The usage records that carry some of the use, and how much of it each does."""
    query = (
        select(UsageRecord)
        .where(
            UsageRecord.instance_id == used.instance_id,
            UsageRecord.meter == used.meter,
            col(UsageRecord.origins).contains(f"[{used.origin},"),
        )
        .order_by(col(UsageRecord.begin))
    )
    carried = [(row, _of(row.origins, used.origin)) for row in session.exec(query)]
    return [(row, quantity) for row, quantity in carried if quantity]


def waiting(session: Session, used: Used) -> int:
    """How much of the use waits below four decimals for the instance's next record."""
    query = select(Carry.origins).where(Carry.instance_id == used.instance_id)
    return sum(_of(text, used.origin) for text in session.exec(query))


def buckets(session: Session, instance_id: str, windows: Iterable[int]) -> dict[str, int]:
    """What stands in the instance's buckets for these windows, by name."""
    query = select(Bucket).where(
        Bucket.instance_id == instance_id, col(Bucket.window).in_(list(windows))
    )
    found: dict[str, int] = {}
    for row in session.exec(query):
        found[row.name] = found.get(row.name, 0) + row.quantity
    return found


def given_by_packages(session: Session, instance_id: str, windows: Iterable[int]) -> dict[str, int]:
    """What packages gave to the instance in these hours of billing, by package."""
    query = select(PackageUse).where(
        PackageUse.instance_id == instance_id, col(PackageUse.window).in_(list(windows))
    )
    found: dict[str, int] = {}
    for row in session.exec(query):
        if row.quantity and not row.package_id.startswith("!"):  # those are no packages
            found[row.package_id] = found.get(row.package_id, 0) + row.quantity
    return found


def assigned_of(
    session: Session, customer_id: str, route: str, origin: int
) -> list[tuple[str, str, int]]:
    """What persons assigned of the customer's use of an hour: (instance, meter, quantity)."""
    query = select(UsageWindow).where(
        UsageWindow.customer_id == customer_id,
        UsageWindow.route == route,
        UsageWindow.origin == origin,
        UsageWindow.mark == ASSIGNED,
    )
    return [(row.instance_id, row.meter, row.quantity) for row in session.exec(query)]


def adjustments_for(session: Session, record: UsageRecord) -> list[Adjusted]:
    """The adjustments between the instance's record before this one and this one, oldest first."""
    table: Table | None = SQLModel.metadata.tables.get("adjustment")
    if table is None:  # a ledger without them
        return []
    before = session.exec(
        select(func.max(UsageRecord.recorded_at)).where(
            UsageRecord.instance_id == record.instance_id,
            UsageRecord.recorded_at < record.recorded_at,
        )
    ).one()
    query = (
        select(*(table.c[name] for name in Adjusted._fields))
        .where(
            table.c.instance_id == record.instance_id,
            table.c.at > (before or 0),
            table.c.at <= record.recorded_at,
        )
        .order_by(table.c.at)
        .limit(_MOST_ADJUSTMENTS)
    )
    return [Adjusted._make(row) for row in session.execute(query)]


def drained_by(session: Session, partition: int, lane: str, number: int) -> DrainedBy | None:
    """The drain that took the lane's record; None for one that is no longer remembered."""
    query = (
        select(Drain.id, Drain.at, Drain.positions)
        .where(Drain.partition == partition, col(Drain.positions).contains(f'"{lane}"'))
        .order_by(col(Drain.at).desc())
        .execution_options(yield_per=1000)
    )
    for drain_id, at, positions in session.exec(query):
        after, through = json.loads(positions)[lane]
        if after < number <= through:
            return DrainedBy(drain_id, at)
    return None


def findings_of(session: Session, request_id: str) -> list[FindingRow]:
    """What was found out about the request without counting it."""
    return list(session.exec(select(FindingRow).where(FindingRow.request_id == request_id)))


def _of(text: str, origin: int) -> int:
    return dict(origins.decode(text)).get(origin, 0)
