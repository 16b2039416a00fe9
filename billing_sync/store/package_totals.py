"""The SQL of what packages gave: per window, and as running totals, always both at once.

Whoever changes PackageUse.quantity does it here, and so makes a newer version of the customer's
balances. The caller has locked the partition's row.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import func, update
from sqlmodel import Session, col, select

from billing_sync.models import Instance, PackageUse
from billing_sync.package_models import PackageTotal
from billing_sync.store.balance_versions import raise_of_users
from billing_sync.store.engine import add_up, in_parts

_GAVE: Final = "packages that gave"


class Given(NamedTuple):
    """What a package gave to an instance in a window, for one billing item; below zero takes back.

    `recorded` is the part of it that stands in records or buckets.
    """

    package_id: str
    instance_id: str
    item: str
    window: int
    quantity: int
    recorded: int = 0


class Use(NamedTuple):
    """What a package gave to an instance for a billing item, over its whole life."""

    package_id: str
    instance_id: str
    item: str
    quantity: int


def give(session: Session, given: Iterable[Given]) -> None:
    """Add to what packages gave."""
    noted: set[str] = session.info.setdefault(_GAVE, set())
    uses: dict[tuple[str, str, int], dict[str, Any]] = {}
    totals: dict[tuple[str, str, str], dict[str, Any]] = {}
    for one in given:
        row = one._asdict()
        item = row.pop("item")
        use = uses.setdefault(
            (one.package_id, one.instance_id, one.window), row | {"quantity": 0, "recorded": 0}
        )
        use["quantity"] += one.quantity
        use["recorded"] += one.recorded
        place = {"package_id": one.package_id, "instance_id": one.instance_id, "item": item}
        total = totals.setdefault((one.package_id, one.instance_id, item), place | {"quantity": 0})
        total["quantity"] += one.quantity
        if one.quantity > 0:
            noted.add(one.package_id)
    add_up(session, PackageUse, list(uses.values()), "quantity", "recorded")
    add_up(session, PackageTotal, list(totals.values()), "quantity")
    raise_of_users(session, {instance_id for _, instance_id, _ in totals})


def gave(session: Session) -> frozenset[str]:
    """The packages that gave something in this session, which is one transaction."""
    return frozenset(session.info.get(_GAVE, ()))


def undo_unrecorded(session: Session, instance_ids: Sequence[str]) -> None:
    """What packages gave to usage without a record is open again."""
    for some in in_parts(instance_ids):
        open_again = (
            col(PackageUse.instance_id).in_(some),
            col(PackageUse.quantity) > col(PackageUse.recorded),
        )
        undone = func.sum(PackageUse.quantity - PackageUse.recorded)
        query = (
            select(PackageUse.package_id, PackageUse.instance_id, undone)
            .where(*open_again)
            .group_by(col(PackageUse.package_id), col(PackageUse.instance_id))
        )
        for package_id, instance_id, quantity in session.exec(query).all():
            _reduce(session, package_id, instance_id, int(quantity))
        session.execute(
            update(PackageUse).where(*open_again).values(quantity=col(PackageUse.recorded))
        )
        raise_of_users(session, some)


def _reduce(session: Session, package_id: str, instance_id: str, quantity: int) -> None:
    """Of an instance that had several products, nobody knows which gave: the larger one first."""
    query = (
        select(PackageTotal.item, PackageTotal.quantity)
        .where(PackageTotal.package_id == package_id, PackageTotal.instance_id == instance_id)
        .order_by(col(PackageTotal.quantity).desc())
    )
    for item, total in session.exec(query).all():
        part = min(quantity, total)
        quantity -= part
        place = {"package_id": package_id, "instance_id": instance_id, "item": item}
        add_up(session, PackageTotal, [place | {"quantity": -part}], "quantity")


def by_item(session: Session, package_ids: Sequence[str]) -> dict[tuple[str, str], int]:
    """What each package gave for each billing item: {(package, item): quantity}."""
    found: dict[tuple[str, str], int] = {}
    for some in in_parts(package_ids):
        query = (
            select(PackageTotal.package_id, PackageTotal.item, func.sum(PackageTotal.quantity))
            .where(col(PackageTotal.package_id).in_(some))
            .group_by(col(PackageTotal.package_id), col(PackageTotal.item))
        )
        found |= {(package, item): int(total) for package, item, total in session.exec(query)}
    return found


def uses(session: Session, package_ids: Sequence[str]) -> list[Use]:
    """To whom each package gave what."""
    found: list[Use] = []
    for some in in_parts(package_ids):
        query = select(PackageTotal).where(
            col(PackageTotal.package_id).in_(some), PackageTotal.quantity != 0
        )
        found += [
            Use(row.package_id, row.instance_id, row.item, row.quantity)
            for row in session.exec(query)
        ]
    return found


def of_customers(
    session: Session, package_ids: Sequence[str], customer_ids: Sequence[str]
) -> dict[tuple[str, str, str], int]:
    """What stands under these package ids for all instances of customers.

    {(package, customer, item): quantity}
    """
    found: dict[tuple[str, str, str], int] = {}
    for some in in_parts(customer_ids):
        query = (
            select(
                PackageTotal.package_id,
                Instance.customer_id,
                PackageTotal.item,
                func.sum(PackageTotal.quantity),
            )
            .join(Instance, col(Instance.id) == PackageTotal.instance_id)
            .where(
                col(PackageTotal.package_id).in_(package_ids), col(Instance.customer_id).in_(some)
            )
            .group_by(
                col(PackageTotal.package_id), col(Instance.customer_id), col(PackageTotal.item)
            )
        )
        for package_id, customer_id, item, total in session.exec(query):
            found[package_id, customer_id, item] = int(total)
    return found
