"""The SQL of licences: asked for, claimed, made, delivered, sent again.

Every statement names the state and the lease that it may change, so whoever comes too late changes
nothing; what was made once is never overwritten.
"""

from collections.abc import Collection, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import CursorResult, update
from sqlmodel import Session, col, select

from billing_sync.licence_models import Licence
from billing_sync.licences import LicenceState
from billing_sync.models import CustomerRow, Instance, OrderLine
from billing_sync.store import instances
from metering.entitlement import InstanceStatus

_OPEN: Final = (LicenceState.MAKING, LicenceState.UPLOADING)


class Owner(NamedTuple):
    """Whom a licence is for; the order's line is None while nobody knows it."""

    instance: Instance
    line: OrderLine | None


def of(session: Session, licence_id: str) -> Licence | None:
    """The licence of this id."""
    return session.get(Licence, licence_id)


def owner(session: Session, instance_id: str, *, lock: bool = False) -> Owner | None:
    """The marketplace's instance with its order line. Locked, only one wish of it is judged at once."""
    if lock:
        instance = instances.locked(session, instance_id)
    else:
        instance = instances.by_ids(session, [instance_id]).get(instance_id)
    if instance is None:
        return None
    line = session.get(OrderLine, (instance.order_id, instance.order_line_id))
    return Owner(instance, line)


def customer_name(session: Session, customer_id: str) -> str:
    """The buyer's name, where it is known."""
    row = session.get(CustomerRow, customer_id)
    return row.name if row is not None else ""


def devices(session: Session, instance_id: str, besides: str) -> frozenset[str]:
    """The devices that have, or may get, a licence of this instance by other wishes than this one."""
    query = select(Licence.device).where(
        Licence.instance_id == instance_id,
        Licence.id != besides,
        Licence.state != LicenceState.REFUSED,
    )
    return frozenset(session.exec(query))


def claim(session: Session, state: LicenceState, *, now_ms: int, until_ms: int) -> Licence | None:
    """The next licence to work on in this state; nobody else takes it before `until_ms`.

    What was tried least comes first, of that the oldest: one that always fails holds no other up.
    """
    query = (
        select(Licence)
        .where(Licence.state == state, Licence.next_attempt <= now_ms)
        .order_by(col(Licence.attempts), col(Licence.received_at), col(Licence.id))
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    found = session.exec(query).first()
    if found is not None:
        found.attempts += 1
        found.next_attempt = until_ms
        session.add(found)
        session.flush()
    return found


def is_due(session: Session, state: LicenceState, now_ms: int) -> bool:
    """Whether `claim` would find something. Locks nothing."""
    query = select(Licence.id).where(Licence.state == state, Licence.next_attempt <= now_ms)
    return session.exec(query.limit(1)).first() is not None


def settle(session: Session, claimed: Licence, **columns: object) -> bool:
    """Write what became of an attempt; False when somebody else has claimed the licence since."""
    return bool(
        _count(
            session,
            update(Licence)
            .where(
                col(Licence.id) == claimed.id,
                col(Licence.state) == claimed.state,
                col(Licence.next_attempt) == claimed.next_attempt,
            )
            .values(**columns),
        )
    )


def retry(session: Session, licence_id: str, now_ms: int) -> bool:
    """Work on it again now: upload what was made, make what was not. False where it is under way."""
    row = session.get(Licence, licence_id, with_for_update=True)
    if row is None or (row.state in _OPEN and row.next_attempt <= now_ms):
        return False
    again(row, now_ms)
    return True


def again(row: Licence, now_ms: int) -> None:
    """The row is due now, for the step that it lacks; what was made stays as it is."""
    if row.sealed and not row.by_reply:
        row.state = LicenceState.UPLOADING
    elif not row.sealed and row.asked:
        row.state = LicenceState.MAKING
    row.attempts, row.next_attempt, row.code, row.error = 0, now_ms, "", ""


def in_states(session: Session, states: Collection[LicenceState]) -> Sequence[str]:
    """The ids of the licences in these states, the oldest first."""
    query = select(Licence.id).where(col(Licence.state).in_(states))
    return session.exec(query.order_by(col(Licence.received_at), col(Licence.id))).all()


def forget(session: Session, instance_id: str) -> int:
    """Erase the buyer's fingerprints and licences; what was not delivered never will be."""
    mine = col(Licence.instance_id) == instance_id
    gone = {"state": LicenceState.REJECTED, "error": "the buyer's data were erased"}
    session.execute(update(Licence).where(mine, col(Licence.state).in_(_OPEN)).values(**gone))
    return _count(
        session, update(Licence).where(mine).values(asked="", sealed="", file_name="", sha256="")
    )


def is_released(instance: Instance) -> bool:
    """Whether there is nothing to license any more."""
    return instance.status == InstanceStatus.RELEASED


def _count(session: Session, statement: Any) -> int:
    done = session.execute(statement)
    assert isinstance(done, CursorResult)  # noqa: S101  (an UPDATE returns nothing else)
    return done.rowcount
