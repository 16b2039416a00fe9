"""The SQL of acts on single usage records: rows are only ever added, beside the record's new state."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import case, func
from sqlmodel import Session, col, select

from billing_sync.act_models import RecordAct
from billing_sync.models import UsageRecord
from billing_sync.push_entries import Acted
from billing_sync.states import WITHHELD, Act, State


def locked(session: Session, serial: str) -> UsageRecord | None:
    """The record, for the rest of the transaction nobody else's."""
    query = select(UsageRecord).where(UsageRecord.metering_sn == serial).with_for_update()
    return session.exec(query).first()


def columns_after(act: Act, after: State, reason: str, now_ms: int) -> Mapping[str, Any]:
    """What an act that leads to this state makes of a record."""
    columns: dict[str, Any] = {"state": after, "release_by": 0, "code": "", "error": ""}
    if act is Act.REJECT:
        return columns | {"code": WITHHELD, "error": f"withheld: {reason}"}
    if act is Act.HOLD:
        return columns | {"code": "person", "error": reason}
    # What was refused once must not spoil the batch it is in.
    alone = {"alone": True} if act is Act.RETRY else {}
    return columns | {"reviewed": True, "next_attempt": now_ms} | alone


def change(session: Session, record: UsageRecord, columns: Mapping[str, Any]) -> None:
    """Write the columns."""
    for name, value in columns.items():
        setattr(record, name, value)
    session.add(record)


def add(session: Session, entry: Acted) -> None:
    """The act's own row."""
    session.add(
        RecordAct(
            id=entry.id,
            metering_sn=entry.metering_sn,
            act=entry.act,
            author=entry.author,
            reason=entry.reason,
            at=entry.at,
        )
    )


def of_record(session: Session, serial: str) -> Sequence[RecordAct]:
    """Everything that was decided about a record, oldest first."""
    query = select(RecordAct).where(RecordAct.metering_sn == serial)
    return session.exec(query.order_by(col(RecordAct.at), col(RecordAct.id))).all()


def known(session: Session, ids: Sequence[str]) -> set[str]:
    """Those of the acts that the ledger has."""
    return set(session.exec(select(RecordAct.id).where(col(RecordAct.id).in_(ids))))


class Unbilled(NamedTuple):
    """Usage whose record never reaches a bill as things stand, in meter units.

    `bucket`: withheld (a person said so), rejected (a dead letter) or expired (too old).
    """

    bucket: str
    instance_id: str
    meter: str
    quantity: int


def unbilled(session: Session) -> list[Unbilled]:
    """All of it. It stands in the records themselves; the table of buckets does not count it again."""
    bucket = case((col(UsageRecord.code) == WITHHELD, WITHHELD), else_=col(UsageRecord.state))
    keys: tuple[Any, ...] = (bucket, col(UsageRecord.instance_id), col(UsageRecord.meter))
    query: Any = select(*keys, func.sum(UsageRecord.quantity))  # type: ignore[call-overload]
    gone = col(UsageRecord.state).in_([State.REJECTED, State.EXPIRED])
    return [
        Unbilled(name, instance_id, meter, int(quantity))
        for name, instance_id, meter, quantity in session.exec(query.where(gone).group_by(*keys))
    ]
