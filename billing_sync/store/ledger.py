"""The ledger's SQL: partitions, checkpoints, the drain chain, usage per window.

Every function takes an open session; the caller owns the transaction.
"""

import json
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from sqlalchemy import ColumnElement, Engine, func, update
from sqlmodel import Session, col, select

from billing_sync.booking import UsageRow
from billing_sync.models import Checkpoint, Drain, Meta, Partition, UsageWindow
from billing_sync.store.engine import add_up, writing


class PartitionsDiffer(Exception):
    """The configuration names another number of partitions than the ledger was made with."""


def set_up(engine: Engine, partitions: int, new_ids: Iterable[str]) -> None:
    """Create the partitions at first start; later only check their number.

    `new_ids` gives fresh random ids. Raises PartitionsDiffer.
    """
    with writing(engine) as session:
        known = session.get(Meta, "partitions")
        if known is not None:
            if known.value != str(partitions):
                raise PartitionsDiffer(
                    f"partitions: {partitions} in the configuration, but this ledger was made with "
                    f"{known.value}; the number is fixed at first start"
                )
            return
        ids = iter(new_ids)
        session.add(Meta(key="partitions", value=str(partitions)))
        for number in range(partitions):
            session.add(Partition(id=number, epoch=next(ids), last=next(ids)))


def partition(session: Session, number: int) -> Partition:
    """The partition's row, locked for the rest of the transaction where the database locks rows."""
    query = select(Partition).where(Partition.id == number).with_for_update()
    return session.exec(query).one()


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


def closed_through(session: Session) -> dict[int, int]:
    """The end of the last closed window of every partition."""
    return dict(session.exec(select(Partition.id, Partition.closed_through)).all())


def checkpoints(session: Session, number: int) -> dict[str, int]:
    """How far each lane is in the ledger."""
    rows = session.exec(select(Checkpoint).where(Checkpoint.partition == number))
    return {row.lane: row.position for row in rows}


def advance(session: Session, number: int, *, prev: str, drain_id: str) -> bool:
    """Move the chain from `prev` to `drain_id`; False when another control plane already did."""
    moved = session.execute(
        update(Partition)
        .where(col(Partition.id) == number, col(Partition.last) == prev)
        .values(last=drain_id)
    )
    return bool(moved.rowcount)  # type: ignore[attr-defined]


def remember_drain(session: Session, drain: Drain, positions: Mapping[str, int]) -> None:
    """Store the link of the chain and move the checkpoints, which only ever go forward."""
    drain.positions = json.dumps(positions)
    session.add(drain)
    known = checkpoints(session, drain.partition)
    for lane, position in positions.items():
        if position > known.get(lane, -1):
            session.merge(Checkpoint(partition=drain.partition, lane=lane, position=position))


def add_usage(session: Session, number: int, rows: Iterable[UsageRow]) -> None:
    """Add the rows to the usage windows."""
    new = [{**row._asdict(), "partition": number, "recorded": 0} for row in rows]
    add_up(session, UsageWindow, new, "quantity")


def totals(session: Session, *where: ColumnElement[bool]) -> dict[str, int]:
    """Quantity per meter over the usage windows that match."""
    query = (
        select(UsageWindow.meter, func.sum(UsageWindow.quantity))
        .where(*where)
        .group_by(UsageWindow.meter)
    )
    return {meter: int(total) for meter, total in session.exec(query)}
