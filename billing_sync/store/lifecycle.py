"""The SQL of the marketplace's side: instances, order lines and the inbox of callbacks.

Every function takes an open session; the caller owns the transaction, so an event, its effect and
the notice to the gateways are committed together or not at all. Static instances are out of reach.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import func
from sqlmodel import Session, col, select

from billing_sync.key_making import MadeKey
from billing_sync.koogallery import answers
from billing_sync.koogallery.answers import Answer
from billing_sync.koogallery.codes import ResultCode
from billing_sync.koogallery.order import Order
from billing_sync.lifecycle import (
    Event,
    LifecycleEvent,
    acceptance_identity,
    creation_identity,
    identity,
)
from billing_sync.models import Instance, OrderLine, UsageRecord
from billing_sync.store import customers, inbox, projections
from billing_sync.store.partitioning import partition_count
from billing_sync.transitions import State, decide, status_when_known
from billing_sync.upgrade_models import Upgrade
from metering.entitlement import InstanceStatus
from metering.partitions import partition_of

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


def of_creation(session: Session, event: LifecycleEvent) -> Instance | None:
    """The instance that a creation is for, if there is one already.

    V1.0 knows no order lines and names the product instead: what was taken into the ledger without
    a line is found by it.
    """
    found = of_order_line(session, event.order_id, event.order_line_id)
    if found is None and event.product_id:
        taken_in = of_order_line(session, event.order_id, "")
        found = taken_in if taken_in and taken_in.product_id == event.product_id else None
    return found


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
    instance = of_creation(session, event)
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
        inbox.remember(session, event, line, answers.created(instance.id, settled=False), at)
    if purchase is not None:
        settle(session, instance.id, purchase, at)
    if event.accepted:
        _accept(session, instance, event, at)
    return answers.created(instance.id, settled=bool(instance.customer_id))


def _accept(session: Session, instance: Instance, event: LifecycleEvent, at: int) -> None:
    """Billing begins when the buyer accepted (V1.0, spec §3.4), unless records say that it did."""
    name = acceptance_identity(instance.id)
    if inbox.stored(session, name) is not None:
        return
    inbox.remember(session, event, name, answers.created(instance.id, settled=True), at)
    begins, locked = min(event.accepted, at), _locked(session, instance.id)
    if locked and locked.status != InstanceStatus.RELEASED and locked.recorded_until <= begins:
        locked.started = max(locked.started, begins)


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
    instance.status = status_when_known(InstanceStatus(instance.status))
    instance.started = at
    session.merge(_order_line(order, instance, instance.product_id))
    customers.ensure(session, order.customer_id, order.customer_name, purchase.key, at)
    projections.enqueue(session, order.customer_id, at)
    stored = inbox.stored(session, creation_identity(instance.order_id, instance.order_line_id))
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
    if (stored := inbox.stored(session, name)) is not None:
        return answers.decode(stored.answer)
    marks = inbox.marks(session, event.instance_id)
    change = decide(_state(instance), event, marks)
    answer = _answer(accepted=change.accepted)
    inbox.remember(session, event, name, answer, at)
    if change.applied:
        _write(instance, change.state)
        is_newest = event.sent_at >= marks.get(Event.UPGRADE, 0)  # else an upgrade came after it
        if event.product_id and is_newest and may_replace(instance.product_id, event.product_id):
            instance.product_id = event.product_id
        if instance.customer_id:
            projections.enqueue(session, instance.customer_id, at)
    session.flush()
    return answer


class Upgradable(NamedTuple):
    """The instance an upgrade is for, and the answer that it already got."""

    instance: Instance | None
    answer: Answer | None


def upgradable(session: Session, event: LifecycleEvent) -> Upgradable:
    """What there is of an upgrade, before its order is asked for."""
    stored = inbox.stored(session, identity(event))
    instance = by_ids(session, [event.instance_id]).get(event.instance_id)
    return Upgradable(instance, answers.decode(stored.answer) if stored else None)


def upgrade(
    session: Session, event: LifecycleEvent, order: Order, product_id: str, at: int
) -> Answer | None:
    """The instance goes on with another product; None when there is no such instance.

    What it used before is recorded under the old product, as soon as it has come in (see closing).
    An instance whose buyer is not known yet cannot go on with anything: nothing is stored.
    """
    instance = _locked(session, event.instance_id)
    if instance is None:
        return None
    name = identity(event)
    if (stored := inbox.stored(session, name)) is not None:
        return answers.decode(stored.answer)
    if not is_settled(instance):
        return Answer(ResultCode.INTERNAL, "the instance is not ready yet, try again")
    change = decide(_state(instance), event, inbox.marks(session, event.instance_id))
    answer = _answer(accepted=change.accepted)
    inbox.remember(session, event, name, answer, at)
    if change.applied:
        instance.linear_value = order.linear_values.get(product_id, instance.linear_value)
    if change.applied and product_id != instance.product_id:
        session.merge(_order_line(order, instance, product_id))
        session.add(_upgrade(session, event, instance, product_id, at))
        instance.product_id = product_id
        projections.enqueue(session, instance.customer_id, at)
    session.flush()
    return answer


def _upgrade(
    session: Session, event: LifecycleEvent, instance: Instance, product_id: str, at: int
) -> Upgrade:
    return Upgrade(
        instance_id=instance.id,
        order_id=event.order_id,
        order_line_id=event.order_line_id,
        partition=partition_of(instance.customer_id, partition_count(session)),
        at=max(instance.started, min(event.sent_at, at)),
        received_at=at,
        old_product_id=instance.product_id,
        new_product_id=product_id,
        settled=int(instance.is_package),  # a package has no records of its own
    )


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


def _order_line(order: Order, instance: Instance, product_id: str) -> OrderLine:
    return OrderLine(
        order_id=order.order_id,
        order_line_id=order.order_line_id,
        product_id=product_id,
        charging_mode=order.charging_mode,
        customer_id=instance.customer_id,
        customer_name=order.customer_name,
        raw=order.raw,
    )
