"""The SQL of a close: a page of instances with what is to be recorded of them, and its results.

In bulk on both sides, a few statements a page however many instances are on it. A page is read and
written in one transaction under the partition's row lock. Instances come in the order of their ids,
and all of an instance's usage is on one page.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Table,
    or_,
    select,
    tuple_,
)
from sqlalchemy.engine import Row
from sqlmodel import Session, SQLModel

from billing_sync import origins
from billing_sync.grouping import Unrecorded
from billing_sync.store.engine import in_parts
from billing_sync.store.packages import unrecorded_uses
from billing_sync.store.results import Held
from billing_sync.store.upgrades import changes_of
from billing_sync.upgrades import FOREIGN, Change
from metering.entitlement import InstanceStatus
from metering.partitions import partition_of

_AT_ONCE: Final = 1000  # ids in one question


def _table(name: str) -> Table:
    return SQLModel.metadata.tables[name]


_USED: Final = _table("usage_window")
_INSTANCE: Final = _table("instance")
_CARRY: Final = _table("carry")
_HOLDER: Final = tuple(
    _INSTANCE.c[name]
    for name in (
        "id",
        "customer_id",
        "product_id",
        "status",
        "started",
        "released",
        "recorded_until",
    )
)
_WAITING: Final = _USED.c.quantity > _USED.c.recorded
_DUE: Final = _CARRY.c.quantity >= _CARRY.c.unit


class Holder(NamedTuple):
    """What a close needs to know of an instance."""

    id: str
    customer_id: str
    product_id: str
    status: str
    started: int
    released: int
    recorded_until: int


class Wanted(NamedTuple):
    """Whose usage is wanted, up to and including the window `through`.

    Of products in `later` only up to `later_through`, of those in `apart` nothing. Both do not hold
    for instances that are released or named in `upgraded`; `only_ended` wants no others.
    """

    partition: int
    through: int
    later: Sequence[str] = ()
    later_through: int = 0
    apart: Sequence[str] = ()
    upgraded: Sequence[str] = ()
    only_ended: bool = False


class Page(NamedTuple):
    """Some instances with their usage, windows ascending, and what else decides about it.

    `given` is what packages gave and no record carries, by (instance, window) and package.
    `next` is the id after which the next page begins; None at the end.
    """

    partition: int
    usage: Sequence[tuple[Holder, Sequence[Unrecorded]]]
    carries: Mapping[tuple[str, str], Held]
    given: Mapping[tuple[str, int], Mapping[str, int]]
    changes: Mapping[str, Sequence[Change]]
    next: str | None


def read(session: Session, wanted: Wanted, after: str, rows: int) -> Page:
    """The page of the instances behind `after`, of about so many rows of usage."""
    found = _rows(session, wanted, [_USED.c.instance_id > after], rows)
    last: str | None = None
    if len(found) == rows:
        last = found[-1].instance_id
        whole = [row for row in found if row.instance_id != last]
        if whole:
            found, last = whole, whole[-1].instance_id
        else:  # one instance with more than a page
            found = _rows(session, wanted, [_USED.c.instance_id == last], None)
    usage = [_usage_of(rows_) for _, rows_ in groupby(found, key=lambda row: row.instance_id)]
    ids = [holder.id for holder, _ in usage]
    return Page(
        wanted.partition,
        usage,
        _carries(session, ids),
        unrecorded_uses(session, ids, through_window=wanted.through),
        changes_of(session, ids),
        last,
    )


def _rows(
    session: Session, wanted: Wanted, where: Iterable[ColumnElement[bool]], limit: int | None
) -> Sequence[Row[Any]]:
    query = (
        select(
            _USED.c.instance_id,
            _USED.c.window,
            _USED.c.meter,
            _USED.c.origin,
            _USED.c.quantity - _USED.c.recorded,
            *_HOLDER,
        )
        .select_from(_USED.join(_INSTANCE, _INSTANCE.c.id == _USED.c.instance_id))
        .where(
            _USED.c.partition == wanted.partition,
            _WAITING,
            _USED.c.window <= wanted.through,
            _INSTANCE.c.source == "koogallery",
            *_conditions(wanted),
            *where,
        )
        .order_by(_USED.c.instance_id, _USED.c.window)
        .limit(limit)
    )
    return session.connection().execute(query).all()


def _conditions(wanted: Wanted) -> list[ColumnElement[bool]]:
    ended = [_INSTANCE.c.status == InstanceStatus.RELEASED]
    if wanted.upgraded:
        ended.append(_INSTANCE.c.id.in_(wanted.upgraded))
    if wanted.only_ended:
        return [or_(*ended)]
    found = []
    if wanted.later:
        in_time = _USED.c.window <= wanted.later_through
        found.append(or_(_INSTANCE.c.product_id.not_in(wanted.later), in_time, *ended))
    if wanted.apart:
        found.append(or_(_INSTANCE.c.product_id.not_in(wanted.apart), *ended))
    return found


def _usage_of(rows: Iterable[Sequence[Any]]) -> tuple[Holder, list[Unrecorded]]:
    found: dict[tuple[int, str], list[tuple[int, int]]] = {}
    for row in rows:
        found.setdefault((row[1], row[2]), []).append((row[3], row[4]))
    holder = Holder._make(row[5:])
    return holder, [
        Unrecorded(
            holder.id,
            window,
            meter,
            sum(quantity for _, quantity in amounts),
            tuple(amounts) if len(amounts) == 1 else origins.of(amounts),
        )
        for (window, meter), amounts in sorted(found.items())
    ]


def _carries(session: Session, ids: Sequence[str]) -> dict[tuple[str, str], Held]:
    columns = (_CARRY.c[name] for name in ("instance_id", "package_id", *Held._fields))
    query = select(*columns)
    found = {}
    for some in in_parts(ids, _AT_ONCE):
        for row in session.connection().execute(query.where(_CARRY.c.instance_id.in_(some))):
            found[row[0], row[1]] = Held._make(row[2:])
    return found


class DueCarry(NamedTuple):
    """A remainder that is worth more than its last unit, and whose it is."""

    holder: Holder
    package_id: str
    held: Held


def due_carries(
    session: Session, partition: int, partitions: int, after: tuple[str, str], limit: int
) -> tuple[list[DueCarry], tuple[str, str] | None]:
    """Remainders of the partition's instances that changed since they were divided last, and where
    the next ones begin (None at the end)."""
    key = (_CARRY.c.instance_id, _CARRY.c.package_id)
    query = (
        select(*key, *(_CARRY.c[name] for name in Held._fields), *_HOLDER)
        .select_from(_CARRY.join(_INSTANCE, _INSTANCE.c.id == _CARRY.c.instance_id))
        .where(_DUE, _INSTANCE.c.source == "koogallery", tuple_(*key) > after)
        .order_by(*key)
        .limit(limit)
    )
    rows = session.connection().execute(query).all()
    found = [DueCarry(Holder._make(row[6:]), row[1], Held._make(row[2:6])) for row in rows]
    mine = [
        due
        for due in found
        if partition_of(due.holder.customer_id, partitions) == partition
        and FOREIGN not in due.package_id
    ]
    return mine, (rows[-1][0], rows[-1][1]) if len(rows) == limit else None
