"""The SQL of the list of packages: a page of them, with what each holds and gave."""

from collections.abc import Mapping, Sequence

from sqlmodel import Session, col, select

from billing_sync.asking import Page
from billing_sync.models import Instance
from billing_sync.package_report import ItemFigures, PackageFigures
from billing_sync.packages import OVERSHOOT, WAITING, quota_in_meter_units
from billing_sync.store import package_totals
from billing_sync.store.package_totals import Use
from metering.catalogue import Catalogue

Beyond = Mapping[tuple[str, str, str], int]  # (OVERSHOOT or WAITING, customer, item): quantity


def listed(session: Session, page: Page, catalogue: Catalogue) -> list[PackageFigures]:
    """Packages in the order of their ids."""
    query = select(Instance).where(col(Instance.is_package).is_(True)).order_by(col(Instance.id))
    if page.after is not None:
        query = query.where(col(Instance.id) > page.after)
    if page.instance_id is not None:
        query = query.where(col(Instance.id) == page.instance_id)
    if page.customer_id is not None:
        query = query.where(col(Instance.customer_id) == page.customer_id)
    packages = list(session.exec(query.limit(page.limit)))
    uses = package_totals.uses(session, [package.id for package in packages])
    beyond = package_totals.of_customers(
        session, (OVERSHOOT, WAITING), sorted({package.customer_id for package in packages})
    )
    return [_figures(package, catalogue, uses, beyond) for package in packages]


def _figures(
    package: Instance, catalogue: Catalogue, uses: Sequence[Use], beyond: Beyond
) -> PackageFigures:
    sold = catalogue.get(package.product_id)
    terms = sold.package if sold else None
    quotas = {item.of: item.quota for item in terms.items} if terms else {}
    mine = [use for use in uses if use.package_id == package.id]
    items = []
    for item in dict.fromkeys([*quotas, *(use.item for use in mine)]):
        product = catalogue.get(item)
        unit = product.unit if product else 1
        quota = quotas.get(item)
        over, waits = (
            beyond.get((place, package.customer_id, item), 0)
            if terms and terms.stop_before_excess
            else 0
            for place in (OVERSHOOT, WAITING)
        )
        items.append(
            ItemFigures(
                item,
                unit,
                None if quota is None else quota_in_meter_units(quota, unit, package.linear_value),
                {use.instance_id: use.quantity for use in mine if use.item == item},
                over + waits,
                waits,
            )
        )
    return PackageFigures(package, terms, items)
