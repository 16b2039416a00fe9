"""The SQL of the marketplace's side: instances, order lines and the inbox of callbacks.

Every function takes an open session; the caller owns the transaction, so an event, its effect and
the notice to the gateways are committed together or not at all. Static instances are out of reach.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from sqlalchemy import func
from sqlmodel import Session, col, select

from billing_sync.koogallery import answers
from billing_sync.koogallery.answers import Answer
from billing_sync.koogallery.codes import ResultCode
from billing_sync.koogallery.orders import Order
from billing_sync.lifecycle import (
    Event,
    LifecycleEvent,
    State,
    creation_identity,
    decide,
    identity,
    next_status,
)
from billing_sync.models import Instance, LifecycleInbox, OrderLine, UsageRecord
from billing_sync.store import customers, projections
from billing_sync.store.customers import MadeKey
from metering.entitlement import InstanceStatus

MARKETPLACE = "koogallery"


@dataclass(frozen=True, slots=True)
class Purchase:
    """What an order told, ready to be stored: its product, and a key in case the buyer has none."""

    order: Order
    product_id: str
    is_package: bool
    key: MadeKey


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


def unsettled(session: Session, limit: int) -> list[Instance]:
    """Instances whose buyer is not known yet, the oldest first."""
    query = (
        select(Instance)
        .where(
            Instance.customer_id == "",
            Instance.source == MARKETPLACE,
            Instance.status != InstanceStatus.RELEASED,
        )
        .order_by(col(Instance.started), col(Instance.id))
        .limit(limit)
    )
    return list(session.exec(query))


def is_settled(instance: Instance) -> bool:
    """Whether nothing remains to be learnt about it."""
    return bool(instance.customer_id) or instance.status == InstanceStatus.RELEASED


def create(session: Session, event: LifecycleEvent, purchase: Purchase | None, at: int) -> Answer:
    """A new instance for an order line, or the one it already has, whatever the businessId.

    Without a purchase the instance waits in `creating`. A repeat that brings one settles it.
    """
    instance = of_order_line(session, event.order_id, event.order_line_id)
    if instance is None:
        instance = Instance(
            id=event.instance_id,
            order_id=event.order_id,
            order_line_id=event.order_line_id,
            status=InstanceStatus.CREATING,
            started=at,
            recorded_until=_recorded_until(session, event.instance_id),
        )
        session.add(instance)
        line = creation_identity(event.order_id, event.order_line_id)
        _remember(session, event, line, answers.created(instance.id, settled=False), at)
    if purchase is not None:
        settle(session, instance.id, purchase, at)
    return answers.created(instance.id, settled=bool(instance.customer_id))


def settle(session: Session, instance_id: str, purchase: Purchase, at: int) -> bool:
    """Buyer and product became known: the instance starts. False when they already were."""
    instance = _locked(session, instance_id)
    if instance is None or instance.customer_id:
        return False
    order = purchase.order
    instance.customer_id = order.customer_id
    instance.product_id = purchase.product_id
    instance.is_package = purchase.is_package
    instance.linear_value = order.linear_value(purchase.product_id)
    instance.expires = instance.expires or order.expires  # a refresh may have come before
    instance.status = next_status(InstanceStatus(instance.status), Event.KNOWN)
    instance.started = at
    session.merge(_order_line(order, instance))
    customers.ensure(session, order.customer_id, order.customer_name, purchase.key, at)
    projections.enqueue(session, order.customer_id, at)
    stored = _stored(session, creation_identity(instance.order_id, instance.order_line_id))
    if stored is not None:
        stored.answer = answers.encode(answers.created(instance_id, settled=True))
    session.flush()
    return True


def apply(
    session: Session,
    event: LifecycleEvent,
    at: int,
    may_replace: Callable[[str, str], bool] = lambda _old, _new: False,
) -> Answer | None:
    """Commit one event to its instance; None when there is no such instance.

    `may_replace(old, new)` says whether a renewal may change the product id; where the two are
    billed differently it may not, and the new id stays in the inbox only.
    """
    instance = _locked(session, event.instance_id)
    if instance is None:
        return None
    name = identity(event)
    if (stored := _stored(session, name)) is not None:
        return answers.decode(stored.answer)
    change = decide(_state(instance), event, _last_sent_at(session, event))
    answer = _answer(accepted=change.accepted)
    _remember(session, event, name, answer, at)
    if change.applied:
        _write(instance, change.state)
        if event.product_id and may_replace(instance.product_id, event.product_id):
            instance.product_id = event.product_id
        if instance.customer_id:
            projections.enqueue(session, instance.customer_id, at)
    session.flush()
    return answer


def _recorded_until(session: Session, instance_id: str) -> int:
    """Where its last record ends: a recovery may know records of an instance we had forgotten."""
    query = select(func.max(UsageRecord.end)).where(UsageRecord.instance_id == instance_id)
    return session.exec(query).one() or 0


def _answer(*, accepted: bool) -> Answer:
    if accepted:
        return Answer(ResultCode.SUCCESS)
    return Answer(ResultCode.UNKNOWN_INSTANCE, "instance was released")


def _locked(session: Session, instance_id: str) -> Instance | None:
    query = select(Instance).where(Instance.id == instance_id, Instance.source == MARKETPLACE)
    return session.exec(query.with_for_update()).first()


def _state(instance: Instance) -> State:
    return State(
        status=InstanceStatus(instance.status),
        known=bool(instance.customer_id),
        expires=instance.expires,
        released=instance.released,
    )


def _write(instance: Instance, state: State) -> None:
    instance.status = state.status
    instance.expires = state.expires
    instance.released = state.released


def _stored(session: Session, name: str) -> LifecycleInbox | None:
    return session.exec(select(LifecycleInbox).where(LifecycleInbox.identity == name)).first()


def _remember(session: Session, event: LifecycleEvent, name: str, answer: Answer, at: int) -> None:
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


def _last_sent_at(session: Session, event: LifecycleEvent) -> int:
    query = select(func.max(LifecycleInbox.sent_at)).where(
        LifecycleInbox.instance_id == event.instance_id,
        LifecycleInbox.activity == event.activity,
    )
    return session.exec(query).one() or 0


def _order_line(order: Order, instance: Instance) -> OrderLine:
    return OrderLine(
        order_id=instance.order_id,
        order_line_id=instance.order_line_id,
        product_id=instance.product_id,
        charging_mode=order.charging_mode,
        customer_id=order.customer_id,
        customer_name=order.customer_name,
        raw=order.raw,
    )
