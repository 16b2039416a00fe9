"""The SQL that the ledger is compared with journals by: sums by the hour of use, and who drained when."""

import json
from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple

from sqlalchemy import func
from sqlmodel import Session, col, select

from billing_sync.finding_models import FindingRow
from billing_sync.models import Checkpoint, Drain, Partition, UsageWindow


class Sum(NamedTuple):
    """What is booked over all routes and grades. `origin` is the window it was used in."""

    origin: int
    customer_id: str
    instance_id: str
    meter: str
    mark: str  # "", late, clock or assigned
    quantity: int


class Drained(NamedTuple):
    """When lanes were drained last, UTC ms by lane, and since when drains are remembered."""

    latest: dict[str, int]
    begins: int


class Reach(NamedTuple):
    """The first hour that anything is booked in, None without any, and until when (UTC ms) every
    partition is closed."""

    first: int | None
    closed_through: int


def reach(session: Session) -> Reach:
    """Over which time the ledger can be reported about."""
    closed = session.exec(select(func.min(Partition.closed_through))).one()
    return Reach(session.exec(select(func.min(UsageWindow.window))).one(), closed or 0)


def sums(
    session: Session, partitions: Collection[int], *, from_window: int, to_window: int
) -> Iterator[Sum]:
    """Everything booked for the partitions that was used in the windows [from, to)."""
    keys: tuple[Any, ...] = (
        col(UsageWindow.origin),
        col(UsageWindow.customer_id),
        col(UsageWindow.instance_id),
        col(UsageWindow.meter),
        col(UsageWindow.mark),
    )
    query: Any = select(*keys, func.sum(UsageWindow.quantity))  # type: ignore[call-overload]
    query = query.where(
        col(UsageWindow.partition).in_(partitions),
        UsageWindow.origin >= from_window,
        UsageWindow.origin < to_window,
    ).group_by(*keys)
    for origin, customer_id, instance_id, meter, mark, quantity in session.exec(query):
        yield Sum(origin, customer_id, instance_id, meter, mark, int(quantity))


def checkpoints(session: Session, partitions: Collection[int]) -> dict[int, dict[str, int]]:
    """How far each lane is in the ledger, by partition."""
    found: dict[int, dict[str, int]] = {partition: {} for partition in partitions}
    query = select(Checkpoint).where(col(Checkpoint.partition).in_(partitions))
    for row in session.exec(query):
        found[row.partition][row.lane] = row.position
    return found


def drained(
    session: Session, partition: int, lanes: Collection[str], *, since_ms: int
) -> Drained | None:
    """When each of the lanes was drained last, if that was at or after `since_ms`.

    None where no drain is remembered.
    """
    begins: int | None = session.exec(
        select(func.min(Drain.at)).where(Drain.partition == partition)
    ).one()
    if begins is None:
        return None
    query = (
        select(Drain.at, Drain.positions)
        .where(Drain.partition == partition, Drain.at >= since_ms)
        .order_by(col(Drain.at).desc())
        .execution_options(yield_per=1000)
    )
    latest: dict[str, int] = {}
    wanted = set(lanes)
    for at, positions in session.exec(query):
        for lane in wanted.intersection(json.loads(positions)):
            latest[lane] = at
            wanted.discard(lane)
        if not wanted:
            break
    return Drained(latest, begins)


def findings(session: Session) -> Sequence[FindingRow]:
    """All of them, in the order they came in."""
    return session.exec(select(FindingRow).order_by(col(FindingRow.id))).all()
