"""The SQL of package deduction: balances of a customer's packages, and what was taken from them."""

from collections.abc import Iterable, Sequence

from sqlalchemy import func
from sqlmodel import Session, col, select

from billing_sync import packages
from billing_sync.models import Instance, PackageUse
from billing_sync.store.engine import add_up
from billing_sync.store.ledger import UsageRow
from metering.catalogue import Catalogue, Product
from metering.entitlement import InstanceStatus


def deduct_rows(
    session: Session, rows: Iterable[UsageRow], catalogue: Catalogue, now_ms: int
) -> None:
    """Deduct newly booked usage from the packages of its customers."""
    for row in rows:
        if not row.instance_id or not row.quantity:
            continue
        instance = session.get(Instance, row.instance_id)
        product = catalogue.get(instance.product_id) if instance else None
        if instance is None or product is None or product.meter != row.meter:
            continue
        balances = balances_for(session, instance.customer_id, product, catalogue, now_ms)
        taken = packages.deduct(row.quantity, balances)
        add_up(
            session,
            PackageUse,
            [
                {
                    "package_id": part.package_id,
                    "instance_id": row.instance_id,
                    "window": row.window,
                    "quantity": part.quantity,
                    "recorded": 0,
                }
                for part in taken
            ],
            "quantity",
        )


def balances_for(
    session: Session, customer_id: str, product: Product, catalogue: Catalogue, now_ms: int
) -> list[packages.Balance]:
    """The customer's usable packages for one billing item, in the order they are deducted."""
    held = session.exec(
        select(Instance).where(
            Instance.customer_id == customer_id,
            col(Instance.is_package),
            Instance.status == InstanceStatus.ACTIVE,
        )
    )
    balances = []
    for package in held:
        if package.expires and package.expires <= now_ms:
            continue
        sold = catalogue.get(package.product_id)
        for item in sold.package.items if sold and sold.package else ():
            if item.of == product.product_id:
                quota = packages.quota_in_meter_units(item.quota, product.unit)
                left = quota - _used(session, package.id, product.product_id)
                balances.append(
                    packages.Balance(
                        package.id,
                        left,
                        bool(sold and sold.package and sold.package.stop_before_excess),
                        package.expires,
                        package.started,
                    )
                )
    return packages.in_order(balances)


def _used(session: Session, package_id: str, product_id: str) -> int:
    query = (
        select(func.sum(PackageUse.quantity))
        .join(Instance, col(Instance.id) == PackageUse.instance_id)
        .where(PackageUse.package_id == package_id, Instance.product_id == product_id)
    )
    return int(session.exec(query).one() or 0)


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


def naming_packages(
    session: Session, instance: Instance, product: Product, catalogue: Catalogue
) -> list[str]:
    """The customer's stop-before-excess packages for the item: each is named in its own records.

    Released and expired ones too, as what they gave may still wait for its record. In the order of
    their expiry.
    """
    held = session.exec(
        select(Instance).where(
            Instance.customer_id == instance.customer_id, col(Instance.is_package)
        )
    )
    naming = []
    for package in held:
        sold = catalogue.get(package.product_id)
        terms = sold.package if sold else None
        if (
            terms
            and terms.stop_before_excess
            and any(item.of == product.product_id for item in terms.items)
        ):
            naming.append(packages.Balance(package.id, 0, True, package.expires, package.started))
    return [balance.package_id for balance in packages.in_order(naming)]
