"""The SQL of the way to the gateways: whose entitlement changed, and what it is now.

A row stays until its customer was written to Redis as it stood at or after `since`. Order for the
projector, and what a crash after each step leaves:
1. `pending`          nothing happened
2. `snapshots`        nothing happened
3. write to Redis     the row is still there; writing again is harmless
4. `done`             deletes only if nothing changed since step 1
"""

import json
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from sqlalchemy import case, delete
from sqlmodel import Session, col, select

from billing_sync.key_models import ApiKey
from billing_sync.models import CustomerRow, Instance, ProjectionOutbox
from billing_sync.store.balance_versions import raise_of_customers
from billing_sync.store.engine import inserting
from metering.entitlement import EntitledInstance, EntitledKey, EntitlementSnapshot, InstanceStatus


class Pending(NamedTuple):
    """A customer to project; `since` goes back to `done`."""

    customer_id: str
    since: int


def enqueue(session: Session, customer_id: str, at: int) -> None:
    """Note that the customer's entitlement changed, and with it what his packages hold.

    `since` always grows, so that two changes within a millisecond are told apart.
    """
    insert = inserting(session, ProjectionOutbox).values(customer_id=customer_id, since=at)
    later = col(ProjectionOutbox.since) + 1
    newest = case((insert.excluded.since > later, insert.excluded.since), else_=later)
    session.execute(
        insert.on_conflict_do_update(index_elements=["customer_id"], set_={"since": newest})
    )
    raise_of_customers(session, [customer_id])


def pending_projections(session: Session, limit: int) -> list[Pending]:
    """The customers that wait longest."""
    query = (
        select(ProjectionOutbox)
        .order_by(col(ProjectionOutbox.since), col(ProjectionOutbox.customer_id))
        .limit(limit)
    )
    return [Pending(row.customer_id, row.since) for row in session.exec(query)]


def projection_done(session: Session, customer_id: str, since: int) -> None:
    """The customer was projected; nothing happens if he changed again meanwhile."""
    session.execute(
        delete(ProjectionOutbox).where(
            col(ProjectionOutbox.customer_id) == customer_id, col(ProjectionOutbox.since) == since
        )
    )


def snapshots(session: Session, customer_ids: Sequence[str]) -> list[EntitlementSnapshot]:
    """What the gateways need to know of these customers; who is not a customer is left out.

    Frozen and released instances are in it: the gateway refuses them by name, until their buyer's data
    are erased. Keys of static
    customers live in the configuration and are not.
    """
    wanted = list(customer_ids)
    keys = _keys(session, wanted)
    instances = _instances(session, wanted)
    rows = session.exec(select(CustomerRow).where(col(CustomerRow.id).in_(wanted)))
    return [
        EntitlementSnapshot(
            customer_id=row.id,
            name=row.name,
            keys=tuple(keys.get(row.id, ())),
            instances=tuple(instances.get(row.id, ())),
        )
        for row in rows
    ]


def _keys(session: Session, wanted: Iterable[str]) -> dict[str, list[EntitledKey]]:
    query = (
        select(ApiKey)
        .where(col(ApiKey.customer_id).in_(wanted), ApiKey.revoked == 0)
        .order_by(col(ApiKey.id))
    )
    found: dict[str, list[EntitledKey]] = {}
    for key in session.exec(query):
        entitled = EntitledKey(str(key.id), key.digest, key.expires, tuple(json.loads(key.routes)))
        found.setdefault(key.customer_id, []).append(entitled)
    return found


def _instances(session: Session, wanted: Iterable[str]) -> dict[str, list[EntitledInstance]]:
    query = (
        select(Instance)
        .where(col(Instance.customer_id).in_(wanted), Instance.erased == 0)
        .order_by(col(Instance.started), col(Instance.id))
    )
    found: dict[str, list[EntitledInstance]] = {}
    for row in session.exec(query):
        found.setdefault(row.customer_id, []).append(
            EntitledInstance(
                row.id, row.product_id, InstanceStatus(row.status), row.expires, row.trial
            )
        )
    return found
