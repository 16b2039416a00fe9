"""The SQL of the marketplace's instances: finding them, locking them, what decides about them.

Instances of the configuration are out of reach.
"""

from collections.abc import Iterable

from sqlalchemy import ColumnElement
from sqlmodel import Session, col, select

from billing_sync.koogallery.answers import Answer
from billing_sync.koogallery.codes import ResultCode
from billing_sync.koogallery.order import Order
from billing_sync.lifecycle import LifecycleEvent
from billing_sync.models import Instance, OrderLine
from billing_sync.transitions import State
from metering.entitlement import InstanceStatus

MARKETPLACE = "koogallery"


def by_ids(session: Session, instance_ids: Iterable[str]) -> dict[str, Instance]:
    """The marketplace's instances among these ids."""
    query = select(Instance).where(
        col(Instance.id).in_(list(instance_ids)), Instance.source == MARKETPLACE
    )
    return {instance.id: instance for instance in session.exec(query)}


def of_order_line(session: Session, order_id: str, order_line_id: str) -> Instance | None:
    """The instance an order line already got."""
    query = select(Instance).where(
        Instance.order_id == order_id,
        Instance.order_line_id == order_line_id,
        Instance.source == MARKETPLACE,
    )
    return session.exec(query).first()


def of_creation(session: Session, event: LifecycleEvent) -> Instance | None:
    """The instance that a creation is for, if there is one already.

    V1.0 knows no order lines and names the product instead: what was taken into the ledger without
    a line is found by it.
    """
    if event.apart:
        return by_ids(session, [event.instance_id]).get(event.instance_id)
    found = of_order_line(session, event.order_id, event.order_line_id)
    if found is None and event.product_id:
        query = select(Instance).where(
            Instance.order_id == event.order_id,
            Instance.order_line_id == "",
            Instance.product_id == event.product_id,
            Instance.source == MARKETPLACE,
        )
        found = session.exec(query).first()
    return found


def unsettled(session: Session, limit: int) -> list[Instance]:
    """Instances whose buyer is not known yet, the oldest first."""
    query = (
        select(Instance).where(*is_unsettled()).order_by(col(Instance.started), col(Instance.id))
    )
    return list(session.exec(query.limit(limit)))


def is_unsettled() -> tuple[ColumnElement[bool], ...]:
    """Of an instance: its buyer is not known yet."""
    return (
        col(Instance.customer_id) == "",
        col(Instance.source) == MARKETPLACE,
        col(Instance.status) != InstanceStatus.RELEASED,
    )


def is_settled(instance: Instance) -> bool:
    """Whether nothing remains to be learnt about it."""
    return bool(instance.customer_id) or instance.status == InstanceStatus.RELEASED


def locked(session: Session, instance_id: str) -> Instance | None:
    """The marketplace's instance of this id, for this transaction alone to change."""
    query = select(Instance).where(Instance.id == instance_id, Instance.source == MARKETPLACE)
    return session.exec(query.with_for_update()).first()


def state_of(instance: Instance) -> State:
    """What of it decides about an event."""
    return State(
        status=InstanceStatus(instance.status),
        known=bool(instance.customer_id),
        expires=instance.expires,
        released=instance.released,
    )


def write(instance: Instance, state: State) -> None:
    """The inverse."""
    instance.status = state.status
    instance.expires = state.expires
    instance.released = state.released


def answer_of(*, accepted: bool) -> Answer:
    """What a judged event is answered with."""
    if accepted:
        return Answer(ResultCode.SUCCESS)
    return Answer(ResultCode.UNKNOWN_INSTANCE, "instance was released")


def order_line(order: Order, customer_id: str, product_id: str) -> OrderLine:
    """What an order told, as it is kept; `product_id` is what it is metered as."""
    return OrderLine(
        order_id=order.order_id,
        order_line_id=order.order_line_id,
        product_id=product_id,
        charging_mode=order.charging_mode,
        customer_id=customer_id,
        customer_name=order.customer_name,
        raw=order.raw,
    )
