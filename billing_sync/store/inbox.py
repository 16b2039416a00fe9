"""The SQL of the inbox: every lifecycle callback once, with the answer that it got."""

from sqlalchemy import ColumnElement, and_, case, func
from sqlmodel import Session, col, select

from billing_sync.koogallery import answers
from billing_sync.koogallery.answers import Answer
from billing_sync.lifecycle import Activity, Event, LifecycleEvent, status_prefix
from billing_sync.models import LifecycleInbox


def stored(session: Session, name: str) -> LifecycleInbox | None:
    """The row of this identity, with the answer that it got."""
    return session.exec(select(LifecycleInbox).where(LifecycleInbox.identity == name)).first()


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
    activity, sent_at = col(LifecycleInbox.activity), col(LifecycleInbox.sent_at)
    kinds = {
        event: and_(activity == Activity.STATUS, _begins(status_prefix(instance_id, event)))
        for event in (Event.FREEZE, Event.UNFREEZE)
    }
    kinds |= {
        Event.EXPIRE: activity == Activity.EXPIRE,
        Event.REFRESH: activity == Activity.REFRESH,
        Event.UPGRADE: activity == Activity.UPGRADE,
    }
    newest = [func.max(case((kind, sent_at), else_=0)) for kind in kinds.values()]
    query = select(*newest).where(LifecycleInbox.instance_id == instance_id)
    found = session.execute(query).one()
    return {event: at for event, at in zip(kinds, found, strict=True) if at}


def _begins(prefix: str) -> ColumnElement[bool]:
    return func.substr(LifecycleInbox.identity, 1, len(prefix)) == prefix
