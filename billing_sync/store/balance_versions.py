"""The SQL of the versions of balances: raised with every change, and taken off the list once told.

A version is raised in the transaction of the change, so whoever reads a version and balances in one
snapshot has what belongs together, whichever of several control planes he is.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Final, NamedTuple

from sqlalchemy import and_, case, or_, update
from sqlmodel import Session, col, select

from billing_sync.balance_models import BalanceVersion
from billing_sync.models import Instance, Partition
from billing_sync.store.engine import add_up, in_parts, inserting
from billing_sync.store.partitioning import partition_count
from metering.partitions import partition_of

_NEW: Final = {"version": 1, "told": 0, "told_epoch": ""}


class Due(NamedTuple):
    """A customer of whose balances the bank lacks this version, and the epoch of his partition."""

    customer_id: str
    partition: int
    version: int
    epoch: str


def raise_of_customers(session: Session, customer_ids: Collection[str]) -> None:
    """The balances of these customers changed; nothing happens for those without packages."""
    found: set[str] = set()
    for some in in_parts(sorted(customer_ids)):
        query = select(Instance.customer_id).where(
            col(Instance.customer_id).in_(some), col(Instance.is_package).is_(True)
        )
        found.update(session.exec(query.distinct()))
    _raise(session, found)


def raise_of_users(session: Session, instance_ids: Collection[str]) -> None:
    """Packages gave something to these pay-per-use instances, or took it back."""
    found: set[str] = set()
    for some in in_parts(sorted(instance_ids)):
        query = select(Instance.customer_id).where(col(Instance.id).in_(some))
        found.update(session.exec(query.distinct()))
    _raise(session, found - {""})


def raise_missing(session: Session) -> None:
    """Customers with packages whose balances were never raised."""
    query = select(Instance.customer_id).where(
        col(Instance.is_package).is_(True),
        Instance.customer_id != "",
        col(Instance.customer_id).not_in(select(BalanceVersion.customer_id)),
    )
    _raise(session, set(session.exec(query.distinct())))


def raise_above(session: Session, customer_id: str, version: int) -> None:
    """The bank was told this version, of a ledger that has been set back since, or has other
    balances of it: the next one is newer."""
    partition = partition_of(customer_id, partition_count(session))
    row = {"customer_id": customer_id, "partition": partition, "version": version + 1}
    insert = inserting(session, BalanceVersion).values(**_NEW | row)
    higher = col(BalanceVersion.version) + 1
    newest = case((insert.excluded.version > higher, insert.excluded.version), else_=higher)
    session.execute(
        insert.on_conflict_do_update(index_elements=["customer_id"], set_={"version": newest})
    )


def _raise(session: Session, customer_ids: Iterable[str]) -> None:
    ids = sorted(customer_ids)  # in one order, so that two who raise do not wait for each other
    if not ids:
        return
    partitions = partition_count(session)
    rows = [
        {**_NEW, "customer_id": each, "partition": partition_of(each, partitions)} for each in ids
    ]
    add_up(session, BalanceVersion, rows, "version")


def due(session: Session, partition: int | None = None, limit: int = 500) -> list[Due]:
    """The customers of a partition, or of all, of whose balances the bank lacks the newest."""
    query = (
        select(
            BalanceVersion.customer_id,
            BalanceVersion.partition,
            BalanceVersion.version,
            Partition.epoch,
        )
        .join(Partition, col(Partition.id) == BalanceVersion.partition)
        .where(
            or_(
                col(BalanceVersion.version) > col(BalanceVersion.told),
                col(BalanceVersion.told_epoch) != col(Partition.epoch),
            )
        )
        .order_by(col(BalanceVersion.customer_id))
    )
    if partition is not None:
        query = query.where(BalanceVersion.partition == partition)
    return [Due(*row) for row in session.exec(query.limit(limit))]


def customers(session: Session, partition: int) -> list[str]:
    """The customers of the partition who have, or had, packages."""
    query = select(BalanceVersion.customer_id).where(BalanceVersion.partition == partition)
    return list(session.exec(query.order_by(col(BalanceVersion.customer_id))))


def versions(session: Session, customer_ids: Sequence[str]) -> dict[str, int]:
    """The version of these customers' balances; 0 for one that was never raised."""
    found = dict.fromkeys(customer_ids, 0)
    for some in in_parts(customer_ids):
        query = select(BalanceVersion.customer_id, BalanceVersion.version).where(
            col(BalanceVersion.customer_id).in_(some)
        )
        found |= dict(session.exec(query).all())
    return found


def were_told(session: Session, told: Iterable[Due]) -> None:
    """The bank has taken these. What was raised meanwhile stays due, and so does what it was told in
    an epoch that is over."""
    for one in told:
        newer = and_(
            col(BalanceVersion.told_epoch) == one.epoch, col(BalanceVersion.told) >= one.version
        )
        session.execute(
            update(BalanceVersion)
            .where(col(BalanceVersion.customer_id) == one.customer_id, ~newer)
            .values(told=one.version, told_epoch=one.epoch)
        )
