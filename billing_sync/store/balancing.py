"""The SQL of the second half of a reconciliation: what an instance used, and where it stands now.

Instances are read some at a time, each whole and of one snapshot, in the database's own order: so
memory is bounded by a handful of instances, however many there are.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, Final, NamedTuple

from sqlalchemy import Table, case, func, union
from sqlmodel import Session, SQLModel, col, select

from billing_sync import origins
from billing_sync.models import (
    Ahead,
    Bucket,
    Carry,
    Instance,
    Partition,
    UsageRecord,
    UsageWindow,
)
from billing_sync.origins import Origins
from billing_sync.states import WITHHELD
from metering.windows import HOUR_MS

AT_ONCE: Final = 100  # instances of one snapshot
_ROWS: Final = 1000  # fetched together
ASSIGNED: Final = "assigned"  # the mark of such usage
_HOLDING: Final = (UsageWindow, UsageRecord, Carry, Bucket, Ahead)


class Used(NamedTuple):
    """Usage of one meter, used in hour `origin` and billed in hour `window`, by mark."""

    meter: str
    window: int
    origin: int
    mark: str
    quantity: int
    recorded: int


class Recorded(NamedTuple):
    """One usage record; `value` is billing units as decimal text."""

    metering_sn: str
    meter: str
    window: int
    begin: int
    end: int
    quantity: int
    value: str
    unit: int
    package_id: str
    state: str
    origins: Origins


class Remains(NamedTuple):
    """What a `Carry` holds, in ten-thousandths of the meter's unit."""

    package_id: str
    quantity: int
    waiting: int
    origins: Origins


class InBucket(NamedTuple):
    """What no record will carry, by the hour it was billed in."""

    window: int
    name: str
    quantity: int


class OfAhead(NamedTuple):
    """What records carry and the lanes have still to bring again."""

    meter: str
    origin: int
    quantity: int


class Holding(NamedTuple):
    """One instance: all that was used, and all the places where it stands. `closed` is the first
    hour that is not closed; `source` is "" for an instance that the ledger does not know. `assigned`
    is what persons assigned to it of usage that had matched no instance."""

    instance_id: str
    customer_id: str
    product_id: str
    source: str
    closed: int
    used: Sequence[Used]
    records: Sequence[Recorded]
    remains: Sequence[Remains]
    buckets: Sequence[InBucket]
    ahead: Sequence[OfAhead]
    adjusted: int
    assigned: int


def instance_ids(session: Session, after: str, limit: int = AT_ONCE) -> list[str]:
    """The next instances of which the ledger holds anything, behind `after` ("" for the first)."""
    parts = []
    for table in _HOLDING:
        column = col(table.instance_id)
        part = select(column).where(column > after).distinct().order_by(column).limit(limit)
        parts.append(select(part.subquery().c.instance_id))
    ids = union(*parts).subquery().c.instance_id
    return list(session.execute(select(ids).order_by(ids).limit(limit)).scalars())


def holdings(session: Session, ids: Sequence[str]) -> Iterator[Holding]:
    """The instances, in the order of `ids`, which is that of `instance_ids`."""
    known = {row.id: row for row in session.exec(select(Instance).where(col(Instance.id).in_(ids)))}
    closed = dict(session.exec(select(Partition.id, Partition.closed_through)).all())
    used, records = _used(session, ids), _records(session, ids)
    remains, buckets = _by_instance(_remains(session, ids)), _by_instance(_buckets(session, ids))
    ahead = _by_instance(_ahead(session, ids))
    adjusted, assigned = (_corrected(session, name, ids) for name in ("adjustment", "assignment"))
    for instance_id in ids:
        instance = known.get(instance_id)
        rows, made = used(instance_id), records(instance_id)
        yield Holding(
            instance_id,
            instance.customer_id if instance else next((row[2] for row in rows), ""),
            instance.product_id if instance else "",
            instance.source if instance else "",
            closed.get(rows[0][1], 0) // HOUR_MS if rows else 0,
            [Used._make((*row[3:7], int(row[7]), int(row[8]))) for row in rows],
            [Recorded._make((*row[1:11], origins.decode(row[11]))) for row in made],
            remains.get(instance_id, ()),
            buckets.get(instance_id, ()),
            ahead.get(instance_id, ()),
            adjusted.get(instance_id, 0),
            assigned.get(instance_id, 0),
        )


_Take = Callable[[str], list[Any]]


def _grouped(rows: Iterable[Any]) -> _Take:
    """Gives the rows of one instance after the other; they come in the order they are asked for."""
    groups = groupby(rows, key=itemgetter(0))
    current = next(groups, None)

    def take(instance_id: str) -> list[Any]:
        nonlocal current
        if current is None or current[0] != instance_id:
            return []
        found = list(current[1])
        current = next(groups, None)
        return found

    return take


def _used(session: Session, ids: Sequence[str]) -> _Take:
    keys = (
        col(UsageWindow.instance_id),
        col(UsageWindow.partition),
        col(UsageWindow.customer_id),
        col(UsageWindow.meter),
        col(UsageWindow.window),
        col(UsageWindow.origin),
        col(UsageWindow.mark),
    )
    sums = (func.sum(UsageWindow.quantity), func.sum(UsageWindow.recorded))
    query: Any = select(*keys, *sums)  # type: ignore[call-overload]
    query = query.where(keys[0].in_(ids)).group_by(*keys).order_by(keys[0])
    return _grouped(session.exec(query.execution_options(yield_per=_ROWS)))


def _records(session: Session, ids: Sequence[str]) -> _Take:
    query: Any = select(  # type: ignore[call-overload]
        UsageRecord.instance_id,
        UsageRecord.metering_sn,
        UsageRecord.meter,
        UsageRecord.window,
        UsageRecord.begin,
        UsageRecord.end,
        UsageRecord.quantity,
        UsageRecord.value,
        UsageRecord.unit,
        UsageRecord.relate_pkg_instance,
        case((col(UsageRecord.code) == WITHHELD, WITHHELD), else_=col(UsageRecord.state)),
        UsageRecord.origins,
    )
    query = query.where(col(UsageRecord.instance_id).in_(ids)).order_by(
        col(UsageRecord.instance_id), col(UsageRecord.begin), col(UsageRecord.end)
    )
    return _grouped(session.exec(query.execution_options(yield_per=_ROWS)))


def _remains(session: Session, ids: Sequence[str]) -> Iterator[tuple[str, Remains]]:
    for row in session.exec(select(Carry).where(col(Carry.instance_id).in_(ids))):
        yield (
            row.instance_id,
            Remains(row.package_id, row.quantity, row.waiting, origins.decode(row.origins)),
        )


def _buckets(session: Session, ids: Sequence[str]) -> Iterator[tuple[str, InBucket]]:
    query = select(Bucket.instance_id, Bucket.window, Bucket.name, Bucket.quantity).where(
        col(Bucket.instance_id).in_(ids)
    )
    for instance_id, window, name, quantity in session.exec(query):
        yield instance_id, InBucket(window, name, quantity)


def _ahead(session: Session, ids: Sequence[str]) -> Iterator[tuple[str, OfAhead]]:
    for row in session.exec(select(Ahead).where(col(Ahead.instance_id).in_(ids))):
        yield row.instance_id, OfAhead(row.meter, row.origin, row.quantity)


def _by_instance(rows: Iterable[tuple[str, Any]]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for instance_id, row in rows:
        found.setdefault(instance_id, []).append(row)
    return found


def _corrected(session: Session, name: str, ids: Sequence[str]) -> dict[str, int]:
    """The sums of a table of corrections, in the meter's unit; a ledger without it has none."""
    table: Table | None = SQLModel.metadata.tables.get(name)
    if table is None:
        return {}
    query = (
        select(table.c.instance_id, func.sum(table.c.quantity))
        .where(table.c.instance_id.in_(ids))
        .group_by(table.c.instance_id)
    )
    return {instance_id: int(quantity) for instance_id, quantity in session.execute(query)}
