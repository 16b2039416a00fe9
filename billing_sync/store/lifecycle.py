"""The SQL of the marketplace's side: instances, order lines and the inbox of callbacks.

Every function takes an open session; the caller owns the transaction, so an event, its effect and
the notice to the gateways are committed together or not at all. Static instances are out of reach.
"""

from dataclasses import dataclass, field

from sqlalchemy import func
from sqlmodel import Session, select

from billing_sync.key_making import MadeKey
from billing_sync.koogallery import answers
from billing_sync.koogallery.answers import Answer
from billing_sync.koogallery.order import Order
from billing_sync.lifecycle import (
    Event,
    LifecycleEvent,
    acceptance_identity,
    creation_identity,
    identity,
)
from billing_sync.models import Instance, UsageRecord
from billing_sync.store import (
    awaited,
    customers,
    inbox,
    instances,
    product_changes,
    projections,
)
from billing_sync.store.product_changes import Change
from billing_sync.transitions import decide, status_when_known
from metering.catalogue import Catalogue
from metering.entitlement import InstanceStatus


@dataclass(frozen=True, slots=True)
class Purchase:
    """What an order told, ready to be stored: its product, and a key in case the buyer has none."""

    order: Order
    product_id: str
    is_package: bool
    key: MadeKey


@dataclass(frozen=True, slots=True)
class Successor:
    """What a renewal goes on with: the product, empty while nobody knows it, and the order if it was
    asked for. `named` is the product's id at the marketplace as far as that is known.
    `is_incomplete` while the order must still be asked for; the catalogue tells which products are
    billed alike."""

    product_id: str
    named: str = ""
    order: Order | None = None
    is_incomplete: bool = False
    catalogue: Catalogue = field(default_factory=dict)

    def change(self, event: LifecycleEvent) -> Change:
        """The same as a change of the instance."""
        values = self.order.linear_values if self.order else {}
        return Change(
            event.order_id,
            event.order_line_id,
            self.product_id,
            event.sent_at,
            values.get(self.product_id),
            self.order,
        )


def create(session: Session, event: LifecycleEvent, purchase: Purchase | None, at: int) -> Answer:
    """A new instance for an order line, or the one it already has, whatever the businessId.

    Without a purchase the instance waits in `creating`. A repeat that brings one settles it.
    """
    instance = instances.of_creation(session, event)
    if instance is None:
        instance = Instance(
            id=event.instance_id,
            order_id=event.order_id,
            order_line_id=event.order_line_id,
            product_id=event.product_id if event.apart else "",
            status=InstanceStatus.CREATING,
            started=at,
            recorded_until=_recorded_until(session, event.instance_id),
        )
        session.add(instance)
        first = answers.created(instance.id, settled=False)
        inbox.remember(session, event, creation_identity(event), first, at)
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
    begins, locked = min(event.accepted, at), instances.locked(session, instance.id)
    if locked and locked.status != InstanceStatus.RELEASED and locked.recorded_until <= begins:
        locked.started = max(locked.started, begins)


def settle(session: Session, instance_id: str, purchase: Purchase, at: int) -> bool:
    """Buyer and product became known: the instance starts. False when they already were."""
    instance = instances.locked(session, instance_id)
    if instance is None or instance.customer_id:
        return False
    order = purchase.order
    instance.customer_id = order.customer_id
    instance.product_id = purchase.product_id
    instance.is_package = purchase.is_package
    instance.linear_value = order.linear_value(purchase.product_id)
    instance.expires = instance.expires or order.expires  # a refresh may have come before
    instance.trial = order.trial and not instance.formal  # so may the word that it is paid for
    instance.status = status_when_known(InstanceStatus(instance.status))
    instance.started = at
    session.merge(instances.order_line(order, order.customer_id, instance.product_id))
    customers.ensure(session, order.customer_id, order.customer_name, purchase.key, at)
    projections.enqueue(session, order.customer_id, at)
    stored = inbox.of_creation(session, instance_id)
    if stored is not None:
        stored.answer = answers.encode(answers.created(instance_id, settled=True))
    session.flush()
    return True


def apply(
    session: Session, event: LifecycleEvent, at: int, successor: Successor | None = None
) -> Answer | None:
    """Commit one event to its instance; None when there is no such instance.

    `successor` is what a renewal lets it go on with. What of that is not known yet, or comes before
    the buyer is known, is awaited: a renewal is paid for, and may be told only once.
    """
    instance = instances.locked(session, event.instance_id)
    if instance is None:
        return None
    name = identity(event)
    if (answer := inbox.answered(session, name)) is not None:
        return answer
    change = decide(instances.state_of(instance), event, inbox.marks(session, event.instance_id))
    answer = instances.answer_of(accepted=change.accepted)
    inbox.remember(session, event, name, answer, at)
    if instance.status != InstanceStatus.RELEASED:
        is_news = _become_formal(instance, event)
        if change.applied:
            instances.write(instance, change.state)
        if (change.applied or is_news) and instance.customer_id:
            projections.enqueue(session, instance.customer_id, at)
        if successor is not None:
            _go_on(session, instance, event, successor, at)
        if event.event is Event.RELEASE:
            awaited.forget(session, instance.id)
    session.flush()
    return answer


def _become_formal(instance: Instance, event: LifecycleEvent) -> bool:
    """A trial that was paid for stays so, whenever the call comes. Whether that changed anything."""
    if not event.formal:
        return False
    was_trial, instance.trial = instance.trial, False
    instance.formal = max(instance.formal, event.sent_at)
    return was_trial


def _go_on(
    session: Session, instance: Instance, event: LifecycleEvent, successor: Successor, at: int
) -> None:
    is_known = successor.product_id and instance.customer_id
    if is_known:
        change, terms = successor.change(event), successor.catalogue
        alike = product_changes.may_replace(terms, instance.product_id, change.product_id)
        product_changes.apply(session, instance, change, at, alike=alike)
    if not is_known or successor.is_incomplete:
        awaited.remember(session, event, successor.named, at)


def _recorded_until(session: Session, instance_id: str) -> int:
    """Where its last record ends: a recovery may know records of an instance we had forgotten."""
    query = select(func.max(UsageRecord.end)).where(UsageRecord.instance_id == instance_id)
    return session.exec(query).one() or 0
