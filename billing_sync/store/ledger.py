"""The ledger's SQL: partitions, checkpoints, the chain of epochs and drains, usage per window.

Every function takes an open session; the caller owns the transaction.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from sqlalchemy import ColumnElement, Engine, func, or_, update
from sqlmodel import Session, col, select

from billing_sync.models import Checkpoint, Drain, Epoch, Meta, Partition, UsageWindow
from billing_sync.store.ahead import Booked
from billing_sync.store.engine import add_up, inserting, writing
from billing_sync.store.running_totals import used
from billing_sync.store.stops import PARTITIONS

FIRST_START: Final = "first start"


class PartitionsDiffer(Exception):
    """The configuration names another number of partitions than the ledger was made with."""


def set_up(engine: Engine, partitions: int, new_ids: Iterable[str], now_ms: int = 0) -> None:
    """Create the partitions at first start; later only check their number.

    `new_ids` gives fresh random ids. Raises PartitionsDiffer.
    """
    with writing(engine) as session:
        # Who comes at the same moment waits here, and finds it done.
        first = inserting(session, Meta).values(key=PARTITIONS, value=str(partitions))
        session.execute(first.on_conflict_do_nothing())
        known = session.get_one(Meta, PARTITIONS)
        if known.value != str(partitions):
            raise PartitionsDiffer(
                f"partitions: {partitions} in the configuration, but this ledger was made with "
                f"{known.value}; the number is fixed at first start"
            )
        if session.exec(select(Partition.id).limit(1)).first() is not None:
            return
        ids = iter(new_ids)
        for number in range(partitions):
            epoch = next(ids)
            session.add(Partition(id=number, epoch=epoch, last=next(ids)))
            session.add(Epoch(id=epoch, partition=number, at=now_ms, reason=FIRST_START))


def partition(session: Session, number: int) -> Partition:
    """The partition's row, locked for the rest of the transaction where the database locks rows."""
    query = select(Partition).where(Partition.id == number).with_for_update()
    return session.exec(query).one()


def looked_back_to(row: Partition) -> int:
    """The end of the last window that is closed or being closed: nothing is booked before it."""
    return max(row.closed_through, row.closing)


def lock_all(session: Session) -> None:
    """Every partition's row, locked as by `partition`: drains and closes wait."""
    session.exec(select(Partition.id).order_by(col(Partition.id)).with_for_update()).all()


class Place(NamedTuple):
    """Where the chain of a partition stands in SQL."""

    epoch: str
    last: str


def place(session: Session, number: int) -> Place:
    """Where the partition stands."""
    query = select(Partition.epoch, Partition.last).where(Partition.id == number)
    return Place(*session.exec(query).one())


def places(session: Session) -> dict[int, Place]:
    """Where every partition stands, of one snapshot."""
    query = select(Partition.id, Partition.epoch, Partition.last)
    return {number: Place(epoch, last) for number, epoch, last in session.exec(query)}


def begin_epoch(session: Session, number: int, *, epoch: str, at: int, reason: str) -> None:
    """The partition's new epoch, remembered with its reason."""
    session.add(Epoch(id=epoch, partition=number, at=at, reason=reason))
    session.execute(update(Partition).where(col(Partition.id) == number).values(epoch=epoch))


def is_first_epoch(session: Session, epoch: str) -> bool:
    """Whether it is the one of the first start, under which nothing was ever in Redis."""
    query = select(Epoch.reason).where(Epoch.id == epoch)
    return session.exec(query).first() == FIRST_START


def learn(session: Session, number: int, ids: Iterable[str], *, at: int, reason: str) -> None:
    """Ids that Redis named and this ledger lacked: the next time they are known."""
    session.add_all(Epoch(id=each, partition=number, at=at, reason=reason) for each in ids)


def known(session: Session, number: int, ids: Iterable[str]) -> set[str]:
    """Those of the ids that were ever an epoch or a drain of the partition."""
    wanted = set(ids)
    epochs = select(Epoch.id).where(Epoch.partition == number, col(Epoch.id).in_(wanted))
    found = set(session.exec(epochs))
    query = select(Drain.id, Drain.prev).where(
        Drain.partition == number, or_(col(Drain.id).in_(wanted), col(Drain.prev).in_(wanted))
    )
    for link in session.exec(query):
        found.update(link)
    return (found | {*place(session, number)}) & wanted


def last_reset_ms(session: Session) -> int:
    """When a partition was last reset, 0 if none ever was."""
    query = select(func.max(Epoch.at)).where(Epoch.reason != FIRST_START)
    return session.exec(query).one() or 0


def closed_through(session: Session) -> dict[int, int]:
    """The end of the last closed window of every partition."""
    return dict(session.exec(select(Partition.id, Partition.closed_through)).all())


def checkpoints(session: Session, number: int, limit: int | None = None) -> dict[str, int]:
    """How far each lane is in the ledger, or so many of them."""
    query = select(Checkpoint.lane, Checkpoint.position).where(Checkpoint.partition == number)
    return dict(session.exec(query.limit(limit)).all())


def advance(session: Session, number: int, *, prev: str, drain_id: str) -> bool:
    """Move the chain from `prev` to `drain_id`; False when another control plane already did."""
    moved = session.execute(
        update(Partition)
        .where(col(Partition.id) == number, col(Partition.last) == prev)
        .values(last=drain_id)
    )
    return bool(moved.rowcount)  # type: ignore[attr-defined]


def remember_drain(session: Session, drain: Drain, positions: Mapping[str, int]) -> None:
    """Store the link of the chain with what came with it of each lane, and move the checkpoints.

    They only ever go forward. Lanes of which nothing came are left out: most are dead.
    """
    stood = checkpoints(session, drain.partition)
    moved = {
        lane: (stood.get(lane, 0), position)
        for lane, position in positions.items()
        if position > stood.get(lane, 0)
    }
    drain.positions = json.dumps(moved)
    session.add(drain)
    for lane, (_, position) in moved.items():
        session.merge(Checkpoint(partition=drain.partition, lane=lane, position=position))


def moved_by(session: Session, drain_id: str) -> dict[str, int]:
    """The checkpoints that a drain moved, as it left them."""
    drain = session.get(Drain, drain_id)
    return {lane: int(m) for lane, (_, m) in json.loads(drain.positions).items()} if drain else {}


def add_usage(session: Session, number: int, booked: Iterable[Booked]) -> None:
    """Add the rows to the usage windows."""
    rows = list(booked)
    new = [{**one.row._asdict(), "partition": number, "recorded": one.recorded} for one in rows]
    add_up(session, UsageWindow, new, "quantity", "recorded")
    of_customers = (each.row for each in rows if not each.row.instance_id)
    used(session, number, ((row.meter, row.grade, row.quantity) for row in of_customers))


def totals(session: Session, *where: ColumnElement[bool]) -> dict[str, int]:
    """Quantity per meter over the usage windows that match."""
    query = (
        select(UsageWindow.meter, func.sum(UsageWindow.quantity))
        .where(*where)
        .group_by(UsageWindow.meter)
    )
    return {meter: int(total) for meter, total in session.exec(query)}
