"""The SQL of what was answered and is still to be learnt: products of renewals, orders told of."""

from collections.abc import Sequence

from sqlalchemy import delete, func, or_
from sqlmodel import Session, col, select

from billing_sync.koogallery.order import Order
from billing_sync.lifecycle import LifecycleEvent
from billing_sync.market_models import AwaitedChange, OrderNotice
from billing_sync.models import Instance
from billing_sync.store import instances, product_changes
from billing_sync.store.product_changes import Change
from metering.catalogue import Catalogue
from metering.entitlement import InstanceStatus


def remember(session: Session, event: LifecycleEvent, product_id: str, at: int) -> None:
    """A renewal goes on with something that is not known yet; the product's id may be."""
    row = AwaitedChange(
        instance_id=event.instance_id,
        order_id=event.order_id,
        order_line_id=event.order_line_id,
        product_id=product_id,
        sent_at=event.sent_at,
        received_at=at,
    )
    session.merge(row)


def changes(session: Session, limit: int) -> Sequence[AwaitedChange]:
    """Renewals whose product is still to be learnt, the oldest first."""
    query = select(AwaitedChange).order_by(
        col(AwaitedChange.received_at), col(AwaitedChange.instance_id)
    )
    return session.exec(query.limit(limit)).all()


def name(session: Session, row: AwaitedChange, product_id: str) -> None:
    """The order said the product's id, which nobody has configured."""
    there = session.get(AwaitedChange, (row.instance_id, row.order_id, row.order_line_id))
    if there is not None:
        there.product_id = product_id


def finish(
    session: Session,
    row: AwaitedChange,
    product_id: str,
    order: Order | None,
    catalogue: Catalogue,
    at: int,
) -> bool:
    """The instance goes on with the product; whether the row is gone.

    It stays while the buyer is not known. Nothing happens to a released instance, nor where a newer
    call decided.
    """
    instance = instances.locked(session, row.instance_id)
    there = session.get(AwaitedChange, (row.instance_id, row.order_id, row.order_line_id))
    if there is None:
        return True
    if instance is not None and instance.status != InstanceStatus.RELEASED:
        if not instance.customer_id:
            return False
        value = order.linear_values.get(product_id) if order else None
        line = (there.order_id, there.order_line_id)
        change = Change(*line, product_id, there.sent_at, value, order)
        alike = product_changes.may_replace(catalogue, instance.product_id, product_id)
        product_changes.apply(session, instance, change, at, alike=alike)
    session.delete(there)
    return True


def forget(session: Session, instance_id: str) -> None:
    """A released instance goes on with nothing."""
    session.execute(delete(AwaitedChange).where(col(AwaitedChange.instance_id) == instance_id))


def note(session: Session, order_id: str, order_line_id: str, at: int) -> bool:
    """An order was told of, which somebody has to deliver; False when it was told of before.

    IntegrityError when somebody else was quicker.
    """
    if session.get(OrderNotice, (order_id, order_line_id)) is not None:
        return False
    session.add(OrderNotice(order_id=order_id, order_line_id=order_line_id, received_at=at))
    session.flush()
    return True


def notices(session: Session, limit: int) -> Sequence[OrderNotice]:
    """Orders that were told of and are not known yet, the oldest first."""
    query = select(OrderNotice).where(OrderNotice.known == 0)
    return session.exec(query.order_by(col(OrderNotice.received_at)).limit(limit)).all()


def learnt(session: Session, order: Order, product_id: str, at: int) -> None:
    """What an order that was told of is."""
    row = session.get(OrderNotice, (order.order_id, order.order_line_id))
    if row is not None:
        row.known = at
        session.merge(instances.order_line(order, order.customer_id, product_id))


def anything(session: Session) -> bool:
    """Whether there is any order to ask for, an instance's first included."""
    unsettled = select(Instance.id).where(*instances.is_unsettled())
    changes, notices = select(AwaitedChange.order_id), select(OrderNotice.order_id)
    unknown = notices.where(OrderNotice.known == 0)
    query = select(or_(unsettled.exists(), changes.exists(), unknown.exists()))
    return bool(session.exec(query).one())


def waiting(session: Session) -> dict[str, int]:
    """How many of each kind are still to be learnt."""
    unknown = select(func.count()).select_from(OrderNotice).where(OrderNotice.known == 0)
    return {
        "change": session.exec(select(func.count()).select_from(AwaitedChange)).one(),
        "notice": session.exec(unknown).one(),
    }
