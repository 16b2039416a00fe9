"""The SQL of how quickly packages are used up: those that stand, what each gave, and lately."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import func, or_
from sqlmodel import Session, col, select

from billing_sync.models import Instance, PackageUse
from billing_sync.package_models import PackageTotal
from billing_sync.store.engine import in_parts
from metering.windows import Window


class Standing(NamedTuple):
    """A package that may still be used. `started` is UTC ms; `linear_value` multiplies its quotas."""

    package_id: str
    customer_id: str
    product_id: str
    started: int
    linear_value: int


def standing(session: Session, now_ms: int) -> list[Standing]:
    """Every package that is neither released nor expired."""
    query: Any = select(  # type: ignore[call-overload]
        Instance.id,
        Instance.customer_id,
        Instance.product_id,
        Instance.started,
        Instance.linear_value,
    )
    query = query.where(
        col(Instance.is_package).is_(True),
        Instance.released == 0,
        or_(col(Instance.expires) == 0, col(Instance.expires) > now_ms),
    )
    return [Standing(*row) for row in session.exec(query)]


def given(session: Session) -> dict[tuple[str, str], int]:
    """What each package ever gave for each billing item, in the meter's unit."""
    query = select(PackageTotal.package_id, PackageTotal.item, func.sum(PackageTotal.quantity))
    query = query.group_by(col(PackageTotal.package_id), col(PackageTotal.item))
    return {(package_id, item): int(total) for package_id, item, total in session.exec(query)}


def given_since(
    session: Session, package_ids: Sequence[str], window: Window
) -> dict[tuple[str, str], int]:
    """The same from a window on, by the product that the instance has now."""
    found: dict[tuple[str, str], int] = {}
    for some in in_parts(package_ids):
        query: Any = (
            select(PackageUse.package_id, Instance.product_id, func.sum(PackageUse.quantity))
            .join(Instance, col(Instance.id) == PackageUse.instance_id)
            .where(col(PackageUse.package_id).in_(some), col(PackageUse.window) >= window)
            .group_by(col(PackageUse.package_id), col(Instance.product_id))
        )
        for package_id, item, quantity in session.exec(query):
            found[package_id, item] = int(quantity)
    return found


def given_by_window(session: Session, package_id: str, since: Window) -> dict[str, dict[int, int]]:
    """What a package gave from a window on: by billing item, then by window."""
    query = (
        select(Instance.product_id, PackageUse.window, func.sum(PackageUse.quantity))
        .join(Instance, col(Instance.id) == PackageUse.instance_id)
        .where(PackageUse.package_id == package_id, col(PackageUse.window) >= since)
        .group_by(col(Instance.product_id), col(PackageUse.window))
    )
    found: dict[str, dict[int, int]] = {}
    for item, window, quantity in session.exec(query):
        found.setdefault(item, {})[window] = int(quantity)
    return found
