"""The SQL of the inbox: every lifecycle callback once, with the answer that it got."""

from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, and_, bindparam, case, func
from sqlmodel import Session, col, select

from billing_sync.koogallery import answers
from billing_sync.koogallery.answers import Answer
from billing_sync.lifecycle import Activity, Event, LifecycleEvent, status_prefix
from billing_sync.models import LifecycleInbox

_SIDES: Final = (Event.FREEZE, Event.UNFREEZE)  # told apart by how the identity begins
_KINDS: Final[Mapping[Event, Activity]] = {
    **dict.fromkeys(_SIDES, Activity.STATUS),
    Event.EXPIRE: Activity.EXPIRE,
    Event.REFRESH: Activity.REFRESH,
    Event.UPGRADE: Activity.UPGRADE,
}


def stored(session: Session, name: str) -> LifecycleInbox | None:
    """The row of this identity, with the answer that it got."""
    return session.exec(select(LifecycleInbox).where(LifecycleInbox.identity == name)).first()


def answered(session: Session, name: str) -> Answer | None:
    """The answer that the event of this identity got; None when it is new."""
    row = stored(session, name)
    return answers.decode(row.answer) if row else None


def of_creation(session: Session, instance_id: str) -> LifecycleInbox | None:
    """The row of the call that made an instance; None where no call did."""
    query = select(LifecycleInbox).where(
        LifecycleInbox.instance_id == instance_id, LifecycleInbox.activity == Activity.NEW
    )
    return session.exec(query.order_by(col(LifecycleInbox.id))).first()


def remember(session: Session, event: LifecycleEvent, name: str, answer: Answer, at: int) -> None:
    """Keep the event under its identity; IntegrityError when somebody else was quicker."""
    row = LifecycleInbox(
        identity=name,
        activity=event.activity,
        instance_id=event.instance_id,
        body=event.body,
        sent_at=event.sent_at,
        received_at=at,
        answer=answers.encode(answer),
    )
    session.add(row)
    session.flush()


def marks(session: Session, instance_id: str) -> dict[Event, int]:
    """The newest timestamp of each kind of event in the inbox; kinds that never came are left out."""
    asked: dict[str, object] = {"instance": instance_id}
    for event in _SIDES:
        prefix = status_prefix(instance_id, event)
        asked |= {f"prefix_{event}": prefix, f"length_{event}": len(prefix)}
    found = session.execute(_newest(), asked).one()
    return {event: at for event, at in zip(_KINDS, found, strict=True) if at}


@cache
def _newest() -> Select[Any]:
    """Made once: putting it together took longer than the database took to answer."""
    sent_at = col(LifecycleInbox.sent_at)
    newest = [func.max(case((_is_of(kind), sent_at), else_=0)) for kind in _KINDS]
    return select(*newest).where(col(LifecycleInbox.instance_id) == bindparam("instance"))


def _is_of(kind: Event) -> ColumnElement[bool]:
    activity = col(LifecycleInbox.activity)
    if kind not in _SIDES:
        return activity == _KINDS[kind]
    begins = func.substr(LifecycleInbox.identity, 1, bindparam(f"length_{kind}"))
    return and_(activity == _KINDS[kind], begins == bindparam(f"prefix_{kind}"))
