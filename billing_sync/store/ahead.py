"""The SQL of usage that is recorded ahead of its arrival: after a recovery, what comes in again.

The ledger was set back, its records came back from the push log, and the usage they carry comes
back from the lanes. It must not be recorded a second time.
"""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import func
from sqlmodel import Session, col, select

from billing_sync.booking import UsageRow
from billing_sync.models import Ahead
from billing_sync.store.engine import add_up, in_parts


class Booked(NamedTuple):
    """A row to add, and how much of it stands in records already.

    `plain` is the part of `recorded` whose records name no package: what an ordinary package gave to
    it is still to be deducted.
    """

    row: UsageRow
    recorded: int = 0
    plain: int = 0


def take(session: Session, rows: Sequence[UsageRow]) -> list[Booked]:
    """Set what is ahead off against usage that came in, whichever comes first."""
    held = _of(session, {row.instance_id for row in rows if row.instance_id})
    return [_settle(session, held, row) for row in rows]


def put(session: Session, ahead: Ahead) -> None:
    """More usage that is still to come."""
    if ahead.quantity:
        add_up(session, Ahead, [ahead.model_dump()], "quantity")


def outstanding(session: Session) -> int:
    """How much is still to come, in meter units, over all instances."""
    return int(session.exec(select(func.sum(Ahead.quantity))).one() or 0)


_Place = tuple[str, str, int]  # instance, meter, origin


def _of(session: Session, instance_ids: set[str]) -> dict[_Place, list[Ahead]]:
    if session.exec(select(Ahead.instance_id).limit(1)).first() is None:
        return {}  # as good as always
    found: dict[_Place, list[Ahead]] = {}
    for some in in_parts(sorted(instance_ids)):
        query = (
            select(Ahead)
            .where(col(Ahead.instance_id).in_(some))
            .order_by(col(Ahead.package_id).desc())  # those that name a package first
        )
        for row in session.exec(query):
            found.setdefault((row.instance_id, row.meter, row.origin), []).append(row)
    return found


def _settle(session: Session, held: dict[_Place, list[Ahead]], row: UsageRow) -> Booked:
    waiting = held.get((row.instance_id, row.meter, row.origin), [])
    recorded = plain = 0
    while waiting and recorded < row.quantity:
        part = min(waiting[0].quantity, row.quantity - recorded)
        recorded += part
        plain += 0 if waiting[0].package_id else part
        waiting[0].quantity -= part
        session.add(waiting[0])
        if not waiting[0].quantity:
            session.delete(waiting.pop(0))
    return Booked(row, recorded, plain)
