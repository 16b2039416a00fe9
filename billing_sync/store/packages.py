"""The SQL of package deduction: balances of a customer's packages, and what was taken from them."""

from collections.abc import Iterable, Sequence
from decimal import Decimal

from sqlalchemy import func
from sqlmodel import Session, col, select

from billing_sync import packages
from billing_sync.booking import UsageRow
from billing_sync.models import Instance, PackageUse
from billing_sync.store.engine import add_up
from metering.catalogue import Catalogue, Product
from metering.entitlement import InstanceStatus

Taken = dict[tuple[str, str, int], int]  # (package, instance, window): quantity


def deduct_rows(
    session: Session,
    rows: Iterable[UsageRow],
    catalogue: Catalogue,
    now_ms: int,
    *,
    recorded: bool = False,
) -> None:
    """Deduct newly booked usage from the packages of its customers, oldest window first.

    Balances are read once per customer and billing item; nobody else deducts from them meanwhile,
    because a customer belongs to one partition, whose row the caller has locked. With `recorded`
    the rows stand in records that name no package: only ordinary packages can have given to them.
    """
    held: dict[tuple[str, str], list[packages.Balance]] = {}
    taken: Taken = {}
    for row in sorted((row for row in rows if row.quantity), key=_age):
        instance = session.get(Instance, row.instance_id) if row.instance_id else None
        product = catalogue.get(instance.product_id) if instance else None
        if instance is None or product is None or product.meter != row.meter:
            continue
        item = (instance.customer_id, product.product_id)
        if item not in held:
            usable = balances_for(session, instance.customer_id, product, catalogue, now_ms)
            held[item] = [b for b in usable if not (recorded and b.stop_before_excess)]
        parts = packages.deduct(row.quantity, held[item])
        held[item] = packages.after(held[item], parts)
        for part in parts:
            place = (part.package_id, row.instance_id, row.window)
            taken[place] = taken.get(place, 0) + part.quantity
    uses = [_package_use(*place, q, q if recorded else 0) for place, q in taken.items()]
    add_up(session, PackageUse, uses, "quantity", "recorded")


def _age(row: UsageRow) -> tuple[int, str]:
    return row.window, row.instance_id


def _package_use(
    package_id: str, instance_id: str, window: int, quantity: int, recorded: int
) -> dict[str, object]:
    return {
        "package_id": package_id,
        "instance_id": instance_id,
        "window": window,
        "quantity": quantity,
        "recorded": recorded,
    }


def balances_for(
    session: Session, customer_id: str, product: Product, catalogue: Catalogue, now_ms: int
) -> list[packages.Balance]:
    """The customer's usable packages for one billing item, in the order they are deducted."""
    usable = [
        package
        for package in _packages_of(session, customer_id)
        if package.status == InstanceStatus.ACTIVE
        and not (package.expires and package.expires <= now_ms)
    ]
    covering = [balance for p in usable if (balance := _full(p, product, catalogue))]
    used = _used(session, [balance.package_id for balance in covering], product.product_id)
    return packages.in_order(
        balance._replace(left=balance.left - used.get(balance.package_id, 0))
        for balance in covering
    )


def naming_packages(
    session: Session, customer_id: str, product: Product, catalogue: Catalogue
) -> list[packages.Balance]:
    """The customer's stop-before-excess packages for the item: each is named in its own records.

    Released and expired ones too, as what they gave may still wait for its record. In the order of
    their expiry; what they still hold is not looked up.
    """
    covering = [_full(p, product, catalogue) for p in _packages_of(session, customer_id)]
    return packages.in_order(b for b in covering if b and b.stop_before_excess)


def _packages_of(session: Session, customer_id: str) -> list[Instance]:
    query = select(Instance).where(
        Instance.customer_id == customer_id, col(Instance.is_package).is_(True)
    )
    return list(session.exec(query))


def _full(package: Instance, product: Product, catalogue: Catalogue) -> packages.Balance | None:
    """What an unused package holds for the billing item; None when it does not cover it."""
    sold = catalogue.get(package.product_id)
    terms = sold.package if sold else None
    quotas = [item.quota for item in terms.items if item.of == product.product_id] if terms else []
    if terms is None or not quotas:
        return None
    return packages.Balance(
        package.id,
        packages.quota_in_meter_units(sum(quotas, Decimal(0)), product.unit),
        terms.stop_before_excess,
        package.expires,
        package.started,
    )


def _used(session: Session, package_ids: Sequence[str], product_id: str) -> dict[str, int]:
    query = (
        select(PackageUse.package_id, func.sum(PackageUse.quantity))
        .join(Instance, col(Instance.id) == PackageUse.instance_id)
        .where(col(PackageUse.package_id).in_(package_ids), Instance.product_id == product_id)
        .group_by(PackageUse.package_id)
    )
    return {package_id: int(quantity) for package_id, quantity in session.exec(query)}


def uses_of(session: Session, package_ids: Sequence[str]) -> dict[str, dict[str, int]]:
    """Per package: what it gave to each pay-per-use instance, over its whole life."""
    query = (
        select(PackageUse.package_id, PackageUse.instance_id, func.sum(PackageUse.quantity))
        .where(col(PackageUse.package_id).in_(package_ids))
        .group_by(PackageUse.package_id, PackageUse.instance_id)
    )
    found: dict[str, dict[str, int]] = {}
    for package_id, instance_id, quantity in session.exec(query):
        found.setdefault(package_id, {})[instance_id] = int(quantity)
    return found
