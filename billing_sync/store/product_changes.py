"""The SQL of instances that go on with another product: by an upgrade, or by a renewal.

What was used before is recorded under the old product, as soon as it has come in (see closing). The
newest call decides by its own timestamp, whatever the order of arrival.
"""

from typing import NamedTuple

from sqlmodel import Session

from billing_sync.koogallery.answers import Answer
from billing_sync.koogallery.codes import ResultCode
from billing_sync.koogallery.order import Order
from billing_sync.lifecycle import Event, LifecycleEvent, identity
from billing_sync.models import Instance
from billing_sync.store import inbox, instances, projections
from billing_sync.store.partitioning import partition_count
from billing_sync.transitions import decide
from billing_sync.upgrade_models import Upgrade
from metering.catalogue import AGENTS_GATEWAY, Catalogue, Product
from metering.partitions import partition_of


class Upgradable(NamedTuple):
    """The instance an upgrade is for, and the answer that it already got."""

    instance: Instance | None
    answer: Answer | None


class Change(NamedTuple):
    """What an order line makes of an instance, and the timestamp of the call that brought it.

    `linear_value` is None where the order does not say; `order` what is kept of it, if it is known.
    """

    order_id: str
    order_line_id: str
    product_id: str
    sent_at: int
    linear_value: int | None = None
    order: Order | None = None


def may_replace(catalogue: Catalogue, old: str, new: str) -> bool:
    """Whether another product is metered and billed alike, so that nothing must be told apart."""
    return _billing(catalogue.get(old)) == _billing(catalogue.get(new))


def _billing(product: Product | None) -> tuple[object, ...] | None:
    if product is None:
        return None
    elsewhere = product.charged_by == AGENTS_GATEWAY
    return product.meter, product.unit, product.cycle, elsewhere, product.package


def upgradable(session: Session, event: LifecycleEvent) -> Upgradable:
    """What there is of an upgrade, before its order is asked for."""
    answer = inbox.answered(session, identity(event))
    return Upgradable(instances.by_ids(session, [event.instance_id]).get(event.instance_id), answer)


def upgrade(
    session: Session, event: LifecycleEvent, order: Order, product_id: str, at: int
) -> Answer | None:
    """The instance goes on with another product; None when there is no such instance.

    An instance whose buyer is not known yet cannot go on with anything: nothing is stored.
    """
    instance = instances.locked(session, event.instance_id)
    if instance is None:
        return None
    name = identity(event)
    if (answer := inbox.answered(session, name)) is not None:
        return answer
    if not instances.is_settled(instance):
        return Answer(ResultCode.INTERNAL, "the instance is not ready yet, try again")
    marks = inbox.marks(session, event.instance_id)
    judged = decide(instances.state_of(instance), event, marks)
    answer = instances.answer_of(accepted=judged.accepted)
    inbox.remember(session, event, name, answer, at)
    if judged.applied and event.sent_at >= marks.get(Event.UPGRADE, 0):
        linear_value = order.linear_values.get(product_id)
        change = Change(
            event.order_id, event.order_line_id, product_id, event.sent_at, linear_value, order
        )
        apply(session, instance, change, at)
    session.flush()
    return answer


def apply(
    session: Session, instance: Instance, change: Change, at: int, *, alike: bool = False
) -> bool:
    """The instance, which is locked and settled, goes on as the change says; False when a newer call
    decided already. `alike` products share their records: nothing is cut."""
    if change.sent_at < instance.product_since:
        return False
    instance.product_since = change.sent_at
    if change.linear_value is not None:
        instance.linear_value = change.linear_value
    if change.product_id != instance.product_id:
        if change.order is not None:
            kept = instances.order_line(change.order, instance.customer_id, change.product_id)
            session.merge(kept)
        if not alike:
            session.add(_upgrade(session, change, instance, at))
        instance.product_id = change.product_id
    projections.enqueue(session, instance.customer_id, at)
    return True


def _upgrade(session: Session, change: Change, instance: Instance, at: int) -> Upgrade:
    return Upgrade(
        instance_id=instance.id,
        order_id=change.order_id,
        order_line_id=change.order_line_id,
        partition=partition_of(instance.customer_id, partition_count(session)),
        at=max(instance.started, min(change.sent_at, at)),
        received_at=at,
        old_product_id=instance.product_id,
        new_product_id=change.product_id,
        settled=int(instance.is_package),  # a package has no records of its own
    )
