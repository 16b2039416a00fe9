"""The SQL of customers and their API keys: buyers as orders name them, and static ones.

Only digests and sealed copies of keys pass through here; making and opening them is done elsewhere.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from sqlalchemy import or_
from sqlmodel import Session, col, select

from billing_sync.errors import StaticConflict
from billing_sync.key_making import MadeKey
from billing_sync.key_models import ApiKey
from billing_sync.models import CustomerRow, Instance
from billing_sync.store import projections, stops
from metering.catalogue import Catalogue
from metering.entitlement import InstanceStatus

STATIC = "static"
MARKETPLACE = "koogallery"


class ConfiguredKey(NamedTuple):
    """A key that the configuration declares. `expires` UTC ms, 0 for never; no routes for all."""

    key_id: str
    name: str
    expires: int
    routes: Sequence[str]


class StaticCustomer(NamedTuple):
    """A customer of the configuration; `instances` are pairs of instance id and product id."""

    customer_id: str
    name: str
    instances: Sequence[tuple[str, str]]
    keys: Sequence[ConfiguredKey] = ()


def ensure(session: Session, customer_id: str, name: str, key: MadeKey, at: int) -> None:
    """The buyer's row and his one key, made with his first instance.

    Who had such a key before gets none, revoked or not: the merchant may have shut him out. Keys that
    an operator made do not count, as the marketplace never delivered them.
    """
    query = select(CustomerRow).where(CustomerRow.id == customer_id).with_for_update()
    customer = session.exec(query).first()
    if customer is None:
        session.add(CustomerRow(id=customer_id, name=name))
        session.flush()
    elif name and customer.source != STATIC:
        customer.name = name
    bought = select(ApiKey.id).where(
        ApiKey.customer_id == customer_id, ApiKey.source == MARKETPLACE
    )
    if session.exec(bought).first() is None:
        digest, sealed, shown = key
        row = ApiKey(customer_id=customer_id, digest=digest, sealed=sealed, shown=shown, created=at)
        session.add(row)


def sealed_keys(session: Session, customer_ids: Iterable[str], now_ms: int) -> dict[str, str]:
    """The newest usable key of each customer, sealed."""
    query = (
        select(ApiKey)
        .where(
            col(ApiKey.customer_id).in_(list(customer_ids)),
            ApiKey.revoked == 0,
            ApiKey.sealed != "",
            or_(col(ApiKey.expires) == 0, col(ApiKey.expires) > now_ms),
        )
        .order_by(col(ApiKey.id))
    )
    return {key.customer_id: key.sealed for key in session.exec(query)}


def upsert_static(
    session: Session, static: Sequence[StaticCustomer], catalogue: Catalogue, at: int
) -> None:
    """Make the static customers and instances those of the configuration, which is given whole.

    An instance that is no longer listed is released, one that is listed again is active again.
    Raises StaticConflict for an id that is listed twice or belongs to the marketplace.
    """
    wanted = _wanted(static)
    stops.alone(session)
    relevant = or_(col(Instance.source) == STATIC, col(Instance.id).in_(list(wanted)))
    rows = {row.id: row for row in session.exec(select(Instance).where(relevant))}
    taken = sorted(i for i in wanted if i in rows and rows[i].source != STATIC)
    if taken:
        raise StaticConflict(
            f"customers: instance {taken[0]} belongs to the marketplace; rename it"
        )
    for customer in static:
        _name(session, customer)
    for instance_id, (customer_id, product_id) in wanted.items():
        row = rows.pop(instance_id, None) or Instance(id=instance_id, source=STATIC, started=at)
        product = catalogue.get(product_id)
        row.customer_id, row.product_id = customer_id, product_id
        row.is_package = product is not None and product.is_package
        row.status, row.released = InstanceStatus.ACTIVE, 0
        session.add(row)
    for gone in rows.values():
        gone.status, gone.released = InstanceStatus.RELEASED, gone.released or at
    changed = {c.customer_id for c in static} | {row.customer_id for row in rows.values()}
    for customer_id in sorted(changed):  # in one order, or two who do so wait for each other
        projections.enqueue(session, customer_id, at)


def _wanted(static: Iterable[StaticCustomer]) -> dict[str, tuple[str, str]]:
    wanted: dict[str, tuple[str, str]] = {}
    for customer in static:
        for instance_id, product_id in customer.instances:
            if instance_id in wanted:
                raise StaticConflict(f"customers: instance {instance_id} is listed twice")
            wanted[instance_id] = (customer.customer_id, product_id)
    return wanted


def _name(session: Session, static: StaticCustomer) -> None:
    known = session.get(CustomerRow, static.customer_id)
    if known is None:
        session.add(CustomerRow(id=static.customer_id, name=static.name, source=STATIC))
    elif known.source == STATIC:
        known.name = static.name
