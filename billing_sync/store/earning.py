"""The SQL of estimates: what was used since some hour and is to be paid for, by product."""

from collections.abc import Collection
from typing import Any, Final

from sqlalchemy import ColumnElement, func, literal
from sqlmodel import Session, col, select

from billing_sync.estimating import Used
from billing_sync.models import Instance, PackageUse, UsageWindow
from metering.catalogue import Catalogue

MOST_ROWS: Final = 50_000


def used(
    session: Session, catalogue: Catalogue, products: Collection[str], since: int, *, apart: bool
) -> list[Used] | None:
    """Usage booked from the window `since` on, less what packages gave; `apart` keeps instances and
    windows apart. None where that is too much to look at."""
    keys: list[Any] = [col(Instance.product_id)]
    if apart:
        keys += [col(UsageWindow.instance_id), col(UsageWindow.window)]
    query: Any = select(*keys, col(UsageWindow.meter), func.sum(UsageWindow.quantity))  # type: ignore[call-overload]
    query = query.join(Instance, col(Instance.id) == UsageWindow.instance_id).where(
        UsageWindow.window >= since, *_sold(products)
    )
    rows = session.exec(query.group_by(*keys, col(UsageWindow.meter)).limit(MOST_ROWS + 1)).all()
    given = _given(session, products, since, apart=apart)
    if len(rows) > MOST_ROWS or given is None:
        return None
    found = []
    for product_id, *place, meter, quantity in rows:
        if catalogue[product_id].meter == meter:
            instance_id, window = place or ("", 0)
            less = given.get((product_id, instance_id, window), 0)
            found.append(Used(product_id, instance_id, window, int(quantity) - less))
    return found


def _given(
    session: Session, products: Collection[str], since: int, *, apart: bool
) -> dict[tuple[str, str, int], int] | None:
    keys: list[Any] = [
        col(Instance.product_id),
        col(PackageUse.instance_id) if apart else literal(""),
        col(PackageUse.window) if apart else literal(0),
    ]
    query: Any = select(*keys, func.sum(PackageUse.quantity))  # type: ignore[call-overload]
    query = query.join(Instance, col(Instance.id) == PackageUse.instance_id).where(
        PackageUse.window >= since, *_sold(products)
    )
    grouped = keys if apart else keys[:1]
    rows = session.exec(query.group_by(*grouped).limit(MOST_ROWS + 1)).all()
    if len(rows) > MOST_ROWS:
        return None
    return {(product, instance, window): int(n) for product, instance, window, n in rows}


def before(
    session: Session, catalogue: Catalogue, products: Collection[str], first: int, end: int
) -> dict[tuple[str, str], int]:
    """What each (product, instance) used in the windows [first, end)."""
    query: Any = select(
        Instance.product_id,
        UsageWindow.instance_id,
        UsageWindow.meter,
        func.sum(UsageWindow.quantity),
    )
    query = (
        query.join(Instance, col(Instance.id) == UsageWindow.instance_id)
        .where(UsageWindow.window >= first, UsageWindow.window < end, *_sold(products))
        .group_by(col(Instance.product_id), col(UsageWindow.instance_id), col(UsageWindow.meter))
        .limit(MOST_ROWS)
    )
    return {
        (product_id, instance_id): int(quantity)
        for product_id, instance_id, meter, quantity in session.exec(query)
        if catalogue[product_id].meter == meter
    }


def _sold(products: Collection[str]) -> list[ColumnElement[bool]]:
    """Instances of these products that are paid for."""
    return [col(Instance.product_id).in_(list(products)), col(Instance.trial).is_(False)]
