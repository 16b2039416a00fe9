"""The SQL of how fast packages are used."""

from collections.abc import Sequence

from sqlalchemy import func
from sqlmodel import Session, col, select

from billing_sync.models import Instance, PackageUse
from billing_sync.store.engine import in_parts


def given_since(
    session: Session, package_ids: Sequence[str], since: int
) -> dict[tuple[str, str], int]:
    """What each package gave for each billing item from the window `since` on, in meter units."""
    found: dict[tuple[str, str], int] = {}
    for some in in_parts(package_ids):
        query = (
            select(PackageUse.package_id, Instance.product_id, func.sum(PackageUse.quantity))
            .join(Instance, col(Instance.id) == PackageUse.instance_id)
            .where(col(PackageUse.package_id).in_(some), PackageUse.window >= since)
            .group_by(col(PackageUse.package_id), col(Instance.product_id))
        )
        found |= {(package, item): int(total) for package, item, total in session.exec(query)}
    return found


def given_by_window(session: Session, package_id: str, since: int) -> dict[str, dict[int, int]]:
    """What a package gave from the window `since` on: by billing item, then by window."""
    query = (
        select(Instance.product_id, PackageUse.window, func.sum(PackageUse.quantity))
        .join(Instance, col(Instance.id) == PackageUse.instance_id)
        .where(PackageUse.package_id == package_id, PackageUse.window >= since)
        .group_by(col(Instance.product_id), col(PackageUse.window))
    )
    found: dict[str, dict[int, int]] = {}
    for item, window, quantity in session.exec(query):
        found.setdefault(item, {})[window] = int(quantity)
    return found
