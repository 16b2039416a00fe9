"""The SQL of authorization codes: what happens to one, in any order of arrival and however often.

A code goes through the transition table of instances; its events stand in the inbox under its id.
"""

from sqlmodel import Session, select

from billing_sync.koogallery import answers
from billing_sync.koogallery.answers import Answer
from billing_sync.koogallery.codes import ResultCode
from billing_sync.licence_models import LicenceCode
from billing_sync.lifecycle import Event, LifecycleEvent, identity
from billing_sync.store import inbox
from billing_sync.transitions import State, decide
from metering.entitlement import InstanceStatus


def add(session: Session, row: LicenceCode) -> LicenceCode:
    """The code is known from now on; the row that is there already stays, but learns what is new."""
    there = session.get(LicenceCode, row.id, with_for_update=True)
    if there is None:
        session.add(row)
        session.flush()
        return row
    there.product_id = row.product_id or there.product_id
    there.order_id = row.order_id or there.order_id
    there.activated = there.activated or row.activated
    there.last_heartbeat = max(there.last_heartbeat, row.last_heartbeat)
    if row.expires and not inbox.marks(session, row.id).get(Event.REFRESH):
        there.expires = row.expires  # a refresh knows better than an estimate
    return there


def apply(session: Session, event: LifecycleEvent, at: int) -> Answer | None:
    """Commit one event to its code; None when there is no such code."""
    query = select(LicenceCode).where(LicenceCode.id == event.instance_id)
    row = session.exec(query.with_for_update()).first()
    if row is None:
        return None
    name = identity(event)
    if (stored := inbox.stored(session, name)) is not None:
        return answers.decode(stored.answer)
    change = decide(_state(row), event, inbox.marks(session, row.id))
    answer = _answer(accepted=change.accepted)
    inbox.remember(session, event, name, answer, at)
    if change.applied:
        _write(row, change.state, event)
    session.flush()
    return answer


def _state(row: LicenceCode) -> State:
    return State(InstanceStatus(row.status), known=True, expires=row.expires, released=row.released)


def _write(row: LicenceCode, state: State, event: LifecycleEvent) -> None:
    row.status, row.expires, row.released = state.status, state.expires, state.released
    if event.event is Event.REFRESH and event.product_id:
        row.product_id = event.product_id
    if event.event is Event.RELEASE:
        row.sealed = ""  # its digest is enough to answer a repeat


def _answer(*, accepted: bool) -> Answer:
    if accepted:
        return Answer(ResultCode.SUCCESS)
    return Answer(ResultCode.UNKNOWN_INSTANCE, "the authorization code was released")
