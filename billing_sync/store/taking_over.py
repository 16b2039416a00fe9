"""The SQL of taking over instances: what the ledger holds of them, adding them, their opening totals."""

from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import func
from sqlmodel import Session, col, select

from billing_sync.key_making import MadeKey
from billing_sync.market_models import OpeningTotal
from billing_sync.models import Instance, OrderLine, UsageRecord
from billing_sync.store import customers, package_totals, projections
from billing_sync.store.engine import in_parts
from billing_sync.store.package_totals import Given
from billing_sync.takeover_checks import Known
from billing_sync.takeover_rows import Taken

_BEFORE = 0  # the window of what packages gave before all hours that are counted here


def known(session: Session, instance_ids: Sequence[str]) -> dict[str, Known]:
    """Those of the instances that the ledger holds, whosever they are."""
    found: dict[str, Known] = {}
    for some in in_parts(instance_ids):
        openings: dict[str, dict[str, int]] = {}
        query = select(OpeningTotal).where(col(OpeningTotal.instance_id).in_(some))
        for row in session.exec(query):
            mine = openings.setdefault(row.instance_id, {})
            mine[row.related_instance_id or row.instance_id] = row.quantity
        for each in session.exec(select(Instance).where(col(Instance.id).in_(some))):
            found[each.id] = Known(
                each.customer_id,
                each.product_id,
                each.order_id,
                each.order_line_id,
                each.source,
                openings.get(each.id, {}),
                changed=each.product_since > 0,
            )
    return found


def bought_by(session: Session, order_ids: Sequence[str]) -> dict[tuple[str, str, str], str]:
    """The instance of each (order, line, product) that the ledger knows of these orders."""
    found: dict[tuple[str, str, str], str] = {}
    for some in in_parts(order_ids):
        query = select(Instance).where(col(Instance.order_id).in_(some), Instance.order_id != "")
        for row in session.exec(query):
            found[row.order_id, row.order_line_id, row.product_id] = row.id
    return found


def add(
    session: Session,
    row: Taken,
    opening: Mapping[str, int],
    key: MadeKey,
    at: int,
    *,
    package: bool,
) -> None:
    """One instance as it stands at the marketplace, its buyer, a key if he has none, and its opening
    totals (meter units by pay-per-use instance)."""
    session.add(
        Instance(
            id=row.instance_id,
            customer_id=row.customer_id,
            product_id=row.product_id,
            order_id=row.order_id,
            order_line_id=row.order_line_id,
            is_package=package,
            status=row.status,
            started=row.started,
            expires=row.expires,
            recorded_until=max(row.billed_until or at, _recorded_until(session, row.instance_id)),
            linear_value=row.linear_value,
            trial=row.trial,
        )
    )
    session.merge(
        OrderLine(
            order_id=row.order_id,
            order_line_id=row.order_line_id,
            product_id=row.product_id,
            customer_id=row.customer_id,
            customer_name=row.customer_name,
        )
    )
    customers.ensure(session, row.customer_id, row.customer_name, key, at)
    session.flush()
    for instance_id, quantity in opening.items():
        _open(session, row, instance_id, quantity, at, package=package)


def tell(session: Session, customer_ids: Iterable[str], at: int) -> None:
    """These customers' entitlements are to go to the gateways."""
    for customer_id in sorted(
        set(customer_ids)
    ):  # in one order, or two who do so wait for each other
        projections.enqueue(session, customer_id, at)


def _open(
    session: Session, row: Taken, instance_id: str, quantity: int, at: int, *, package: bool
) -> None:
    product_id = row.product_id
    if package:
        query = select(Instance.product_id).where(Instance.id == instance_id)
        product_id = session.exec(query).one()
        given = Given(row.instance_id, instance_id, product_id, _BEFORE, quantity, quantity)
        package_totals.give(session, [given])
    session.add(
        OpeningTotal(
            instance_id=row.instance_id,
            related_instance_id=instance_id if package else "",
            product_id=product_id,
            quantity=quantity,
            at=at,
        )
    )


def _recorded_until(session: Session, instance_id: str) -> int:
    query = select(func.max(UsageRecord.end)).where(UsageRecord.instance_id == instance_id)
    return session.exec(query).one() or 0


def openings(session: Session, instance_ids: Sequence[str]) -> dict[str, OpeningTotal]:
    """What these pay-per-use instances had used before they were taken over."""
    query = select(OpeningTotal).where(
        col(OpeningTotal.instance_id).in_(instance_ids), OpeningTotal.related_instance_id == ""
    )
    return {row.instance_id: row for row in session.exec(query)}
