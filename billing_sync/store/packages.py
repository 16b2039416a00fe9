"""The SQL of package deduction: balances of customers' packages, and what is taken from them.

A drain asks once for its instances, once for their customers' packages and once for what these gave
already, however many rows it has.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from decimal import Decimal
from typing import NamedTuple

from sqlalchemy import or_
from sqlmodel import Session, col, select

from billing_sync import packages
from billing_sync.booking import UsageRow
from billing_sync.models import Instance, PackageUse
from billing_sync.packages import Balance
from billing_sync.store import package_totals
from billing_sync.store.ahead import Booked
from billing_sync.store.engine import in_parts
from billing_sync.store.freezing import freezes_of
from billing_sync.store.package_totals import Given
from metering.catalogue import Catalogue, Product
from metering.entitlement import InstanceStatus

Balances = dict[tuple[str, str], list[Balance]]  # by (customer, billing item), in their order


class _Charged(NamedTuple):
    row: UsageRow
    instance: Instance
    product: Product

    @property
    def item(self) -> tuple[str, str]:
        return self.instance.customer_id, self.product.product_id


def deduct_booked(
    session: Session, booked: Iterable[Booked], catalogue: Catalogue, now_ms: int
) -> None:
    """As `deduct_rows`, of usage that was booked: what no record carries yet, then the rest."""
    booked = list(booked)
    new = [one.row._replace(quantity=one.row.quantity - one.recorded) for one in booked]
    plain = [one.row._replace(quantity=one.plain) for one in booked]
    deduct_rows(session, new, catalogue, now_ms)
    deduct_rows(session, plain, catalogue, now_ms, recorded=True)


def deduct_rows(
    session: Session,
    rows: Iterable[UsageRow],
    catalogue: Catalogue,
    now_ms: int,
    *,
    recorded: bool = False,
) -> None:
    """Deduct newly booked usage from the packages of its customers, the oldest use first.

    Nobody else deducts from them meanwhile: a customer belongs to one partition, whose row the
    caller has locked. With `recorded` the rows stand in records that name no package: only ordinary
    packages can have given to them.
    """
    charged = _charged(session, [row for row in rows if row.quantity], catalogue)
    if not charged:
        return
    since_ms = min(_moment(one, now_ms).used for one in charged)
    customers = {one.instance.customer_id for one in charged}
    held = balances(session, customers, catalogue, since_ms)
    given: dict[tuple[str, str, str, int], int] = {}
    for one in charged:
        mine = [b for b in held.get(one.item, ()) if not (recorded and b.stop_before_excess)]
        taken = packages.deduct(one.row.quantity, mine, _moment(one, now_ms))
        if taken:
            held[one.item] = packages.after(held[one.item], taken)
        for part in taken:
            place = (part.package_id, one.instance.id, one.product.product_id, one.row.window)
            given[place] = given.get(place, 0) + part.quantity
    package_totals.give(session, (Given(*place, q, q * recorded) for place, q in given.items()))


def _moment(one: _Charged, now_ms: int) -> packages.Moment:
    return packages.moment_of(one.row.origin, one.row.window, now_ms)


def _charged(session: Session, rows: Sequence[UsageRow], catalogue: Catalogue) -> list[_Charged]:
    """The rows of instances whose product is charged by their meter, in the order of their use."""
    known = _instances(session, {row.instance_id for row in rows if row.instance_id})
    found = []
    for row in rows:
        instance = known.get(row.instance_id)
        product = catalogue.get(instance.product_id) if instance else None
        if instance and product and instance.customer_id and product.meter == row.meter:
            found.append(_Charged(row, instance, product))
    return sorted(found, key=lambda one: (one.row.origin, one.row.window, one.row.instance_id))


def _instances(session: Session, ids: Collection[str]) -> dict[str, Instance]:
    found: dict[str, Instance] = {}
    for some in in_parts(sorted(ids)):
        query = select(Instance).where(col(Instance.id).in_(some))
        found |= {row.id: row for row in session.exec(query)}
    return found


def balances(
    session: Session, customer_ids: Collection[str], catalogue: Catalogue, since_ms: int
) -> Balances:
    """What the customers' packages hold, those left out that were released before `since_ms`."""
    rows = _packages_of(session, customer_ids, since_ms)
    frozen = freezes_of(session, rows)
    given = package_totals.by_item(session, [row.id for row in rows])
    found: Balances = {}
    for row in rows:
        for item, full in covered(row, catalogue):
            left = full.left - given.get((row.id, item), 0)
            balance = full._replace(left=left, frozen=frozen.get(row.id, ()))
            found.setdefault((row.customer_id, item), []).append(balance)
    return {place: packages.in_order(held) for place, held in found.items()}


def naming_of(session: Session, customer_ids: Collection[str], catalogue: Catalogue) -> Balances:
    """Stop-before-excess packages by (customer, billing item): each is named in its own records.

    Released and expired ones too, as what they gave may still wait for its record. In the order of
    their expiry; what they still hold is not looked up.
    """
    found: Balances = {}
    for row in _packages_of(session, customer_ids):
        for item, full in covered(row, catalogue):
            if full.stop_before_excess:
                found.setdefault((row.customer_id, item), []).append(full)
    return {place: packages.in_order(held) for place, held in found.items()}


def unrecorded_uses(
    session: Session, instance_ids: Collection[str], *, through_window: int
) -> dict[tuple[str, int], dict[str, int]]:
    """What packages gave without a record as yet: {(instance, window): {package: quantity}}.

    OVERSHOOT and WAITING are among the packages. See packages.slices.
    """
    found: dict[tuple[str, int], dict[str, int]] = {}
    for some in in_parts(sorted(instance_ids)):
        query = select(
            PackageUse.instance_id,
            PackageUse.window,
            PackageUse.package_id,
            PackageUse.quantity - PackageUse.recorded,
        ).where(
            col(PackageUse.instance_id).in_(some),
            PackageUse.window <= through_window,
            PackageUse.quantity > PackageUse.recorded,
        )
        for instance_id, window, package_id, left in session.exec(query):
            found.setdefault((instance_id, window), {})[package_id] = left
    return found


def _packages_of(
    session: Session, customer_ids: Collection[str], since_ms: int | None = None
) -> list[Instance]:
    found: list[Instance] = []
    for some in in_parts(sorted(customer_ids)):
        query = select(Instance).where(
            col(Instance.customer_id).in_(some), col(Instance.is_package).is_(True)
        )
        if since_ms is not None:
            is_held = col(Instance.status) != InstanceStatus.RELEASED
            query = query.where(or_(is_held, col(Instance.released) > since_ms))
        found += session.exec(query)
    return found


def covered(row: Instance, catalogue: Catalogue) -> Iterator[tuple[str, Balance]]:
    """The billing items that a package is for, and what it holds of each while nothing is used."""
    sold = catalogue.get(row.product_id)
    if sold is None or sold.package is None:
        return
    quotas: dict[str, Decimal] = {}
    for item in sold.package.items:
        quotas[item.of] = quotas.get(item.of, Decimal(0)) + item.quota
    for item_id, quota in quotas.items():
        product = catalogue.get(item_id)
        if product is not None:
            full = packages.quota_in_meter_units(quota, product.unit, row.linear_value)
            yield (
                item_id,
                Balance(
                    row.id,
                    full,
                    sold.package.stop_before_excess,
                    row.expires,
                    row.started,
                    row.released if row.status == InstanceStatus.RELEASED else 0,
                    overshoot=sold.package.overshoot,
                    quota=full,
                ),
            )
