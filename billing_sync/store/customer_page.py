"""The SQL of a customer's page: what of his stands in the ledger, within what may be seen."""

from typing import Final, NamedTuple

from sqlmodel import Session, col, select

from billing_sync.access import Access
from billing_sync.asking import Page
from billing_sync.models import CustomerRow, Instance
from billing_sync.package_report import PackageFigures
from billing_sync.store import package_burn, package_listing
from metering.catalogue import Catalogue
from metering.windows import Window

MOST: Final = 200


class Standing(NamedTuple):
    """Rows of one customer. `burn` is what packages gave lately: {(package, item): quantity}."""

    customer: CustomerRow | None
    instances: list[Instance]
    packages: list[PackageFigures]
    burn: dict[tuple[str, str], int]


def standing(session: Session, access: Access, catalogue: Catalogue, since: Window) -> Standing:
    """What he may see; `since` is the window from which use of packages counts as lately."""
    found = _instances(session, access)
    ids = [row.id for row in found if row.is_package]
    mine = set(ids)
    page = Page(access.customer_id, None, None, None, MOST)
    packages = [
        each for each in package_listing.listed(session, page, catalogue) if each.package.id in mine
    ]
    return Standing(
        session.get(CustomerRow, access.customer_id),
        found,
        packages,
        package_burn.given_since(session, ids, since),
    )


def _instances(session: Session, access: Access) -> list[Instance]:
    """The newest of them."""
    query = select(Instance).where(Instance.customer_id == access.customer_id)
    if access.instances is not None:
        query = query.where(col(Instance.id).in_(sorted(access.instances)))
    newest = query.order_by(col(Instance.started).desc(), col(Instance.id)).limit(MOST)
    return list(session.exec(newest))
