"""The SQL of product ids that are not configured: what is metered as what, and what still waits."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import ColumnElement, func
from sqlmodel import Session, col, select

from billing_sync.market_models import AwaitedChange, ProductMapping
from billing_sync.models import Instance
from billing_sync.store import projections
from billing_sync.store.instances import MARKETPLACE
from billing_sync.upgrade_models import Upgrade
from metering.catalogue import Catalogue
from metering.entitlement import InstanceStatus

_AT_ONCE = 500  # instances of one transaction


class Unmapped(NamedTuple):
    """A product id that was sold and is neither configured nor mapped, and how much waits for it."""

    product_id: str
    instances: int
    renewals: int


def of(session: Session, product_ids: Sequence[str], catalogue: Catalogue) -> dict[str, str]:
    """What these are metered as, of those that are mapped to a configured product."""
    query = select(ProductMapping).where(col(ProductMapping.product_id).in_(list(product_ids)))
    rows = session.exec(query)
    return {row.product_id: row.mapped_to for row in rows if row.mapped_to in catalogue}


def listed(session: Session) -> Sequence[ProductMapping]:
    """All of them, by product id."""
    return session.exec(select(ProductMapping).order_by(col(ProductMapping.product_id))).all()


def put(session: Session, row: ProductMapping) -> None:
    """Make or replace one. Instances that are metered by it already stay as they are."""
    session.merge(row)
    session.flush()


def remove(session: Session, product_id: str) -> ProductMapping | None:
    """For orders to come; the row that was there."""
    row = session.get(ProductMapping, product_id)
    if row is not None:
        session.delete(row)
    return row


def take_up(session: Session, catalogue: Catalogue, at: int) -> int:
    """Instances that still stand under an id that is mapped are metered as what it is mapped to; how
    many. A part of them, if there are many."""
    configured = {row.product_id: row for row in listed(session) if row.mapped_to in catalogue}
    wanted = [product_id for product_id in configured if product_id not in catalogue]
    if not wanted:
        return 0
    query = (
        select(Instance)
        .where(*_standing(), col(Instance.product_id).in_(wanted))
        .order_by(col(Instance.id))
        .limit(_AT_ONCE)
        .with_for_update()
    )
    found = session.exec(query).all()
    for instance in found:
        instance.product_id = configured[instance.product_id].mapped_to
        instance.is_package = catalogue[instance.product_id].is_package
    _follow_upgrades(session, configured, [instance.id for instance in found])
    for customer_id in sorted({instance.customer_id for instance in found} - {""}):
        projections.enqueue(session, customer_id, at)
    return len(found)


def _follow_upgrades(
    session: Session, configured: Mapping[str, ProductMapping], instance_ids: Sequence[str]
) -> None:
    """An upgrade to an unknown product whose old one is not cut yet is one to the other product."""
    query = select(Upgrade).where(col(Upgrade.instance_id).in_(instance_ids), Upgrade.settled == 0)
    for row in session.exec(query):
        if row.new_product_id in configured:
            row.new_product_id = configured[row.new_product_id].mapped_to


def unmapped(session: Session, catalogue: Catalogue) -> list[Unmapped]:
    """What a person has to look at, by product id."""
    mapped = {row.product_id for row in listed(session) if row.mapped_to in catalogue}
    sold = (
        select(Instance.product_id, func.count())
        .where(*_standing(), Instance.product_id != "")
        .group_by(col(Instance.product_id))
    )
    renewed = (
        select(AwaitedChange.product_id, func.count())
        .where(AwaitedChange.product_id != "")
        .group_by(col(AwaitedChange.product_id))
    )
    instances = dict(session.exec(sold).all())
    renewals = dict(session.exec(renewed).all())
    open_ones = sorted((instances.keys() | renewals.keys()) - mapped - catalogue.keys())
    return [Unmapped(i, instances.get(i, 0), renewals.get(i, 0)) for i in open_ones]


def _standing() -> tuple[ColumnElement[bool], ...]:
    return (
        col(Instance.source) == MARKETPLACE,
        col(Instance.status) != InstanceStatus.RELEASED,
    )
