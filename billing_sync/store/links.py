"""The SQL of links to customers' pages: their revisions, and what a link opens now."""

from collections.abc import Iterable
from typing import NamedTuple

from sqlmodel import Session, col, select

from billing_sync.errors import BadLink, UnknownCustomer
from billing_sync.link_tokens import Link
from billing_sync.models import CustomerRow, Instance
from billing_sync.people_models import LinkRevision
from billing_sync.store.engine import in_parts
from metering.catalogue import Catalogue


class Opened(NamedTuple):
    """What a good link shows: one instance and what belongs to it, or None for all."""

    customer: CustomerRow
    instances: frozenset[str] | None


def revisions(session: Session, customer_ids: Iterable[str]) -> dict[str, int]:
    """The customers' revisions; who is left out has the first, 0."""
    found: dict[str, int] = {}
    for some in in_parts(sorted(customer_ids)):
        query = select(LinkRevision).where(col(LinkRevision.customer_id).in_(some))
        found |= {row.customer_id: row.revision for row in session.exec(query)}
    return found


def revoke(session: Session, customer_id: str, at: int) -> int:
    """No link of the customer that was made until now opens anything; his new revision.

    Raises UnknownCustomer.
    """
    require(session, customer_id)
    row = session.get(LinkRevision, customer_id, with_for_update=True)
    row = row or LinkRevision(customer_id=customer_id, revision=0, at=at)
    row.revision, row.at = row.revision + 1, at
    session.add(row)
    session.flush()
    return row.revision


def require(session: Session, customer_id: str) -> CustomerRow:
    """The customer. Raises UnknownCustomer."""
    customer = session.get(CustomerRow, customer_id)
    if customer is None:
        raise UnknownCustomer(
            f"there is no customer {customer_id!r}; customers come with a purchase, or stand under "
            "`customers:` in the configuration"
        )
    return customer


def instance_of(session: Session, customer_id: str, instance_id: str) -> Instance | None:
    """The customer's instance of this id; nobody else's."""
    instance = session.get(Instance, instance_id)
    return instance if instance is not None and instance.customer_id == customer_id else None


def opened(session: Session, link: Link, catalogue: Catalogue, now_ms: int, keep_ms: int) -> Opened:
    """What the link opens. Raises BadLink for one that is over or revoked.

    A link without an end opens its instance until `keep_ms` after the release, as long as anything
    of the buyer is kept.
    """
    customer = session.get(CustomerRow, link.customer_id)
    if (
        customer is None
        or revisions(session, [link.customer_id]).get(customer.id, 0) != link.revision
    ):
        raise BadLink("revoked")
    if link.expires and link.expires * 1000 <= now_ms:
        raise BadLink("over")
    if not link.instance_id:
        if not link.expires:
            raise BadLink("a link of a customer has an end")
        return Opened(customer, None)
    instance = instance_of(session, customer.id, link.instance_id)
    if instance is None or instance.erased:
        raise BadLink("over: the instance is gone")
    if not link.expires and 0 < instance.released <= now_ms - keep_ms:
        raise BadLink("over: the instance was released")
    return Opened(customer, belonging(session, instance, catalogue))


def belonging(session: Session, instance: Instance, catalogue: Catalogue) -> frozenset[str]:
    """The instance, and of the same customer: packages for its billing item; of a package the
    instances of its billing items."""
    query = select(Instance.id, Instance.product_id, Instance.is_package).where(
        Instance.customer_id == instance.customer_id
    )
    mine = _items(instance.product_id, catalogue)
    return frozenset([instance.id]) | {
        instance_id
        for instance_id, product_id, is_package in session.exec(query)
        if is_package != instance.is_package and mine & _items(product_id, catalogue)
    }


def _items(product_id: str, catalogue: Catalogue) -> set[str]:
    product = catalogue.get(product_id)
    if product is None or product.package is None:
        return {product_id}
    return {item.of for item in product.package.items}
