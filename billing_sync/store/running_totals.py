"""The SQL of running totals: what was ever used, and what was ever recorded. They only grow, unless
the ledger is set back."""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final, NamedTuple

from sqlalchemy import func
from sqlmodel import Session, col, select

from billing_sync.metric_models import CustomerTotal, RecordTotal, UsageTotal
from billing_sync.models import Instance, Meta, UsageWindow
from billing_sync.store.engine import add_up, in_parts, inserting
from metering.windows import Window

_ADDED_UP: Final = "customer_totals"  # the first window that is not in CustomerTotal
_LOCK: Final = "partitions"  # a row that is always there
REQUESTS: Final = "requests"


class Recorded(NamedTuple):
    """Records of one product, and their billing units."""

    product_id: str
    packaged: bool
    records: int
    units: Decimal


def used(session: Session, partition: int, rows: Iterable[tuple[str, str, int]]) -> None:
    """Customers used more, whatever of it is charged: (meter, grade, quantity)."""
    sums: dict[tuple[str, str], int] = {}
    for meter, grade, quantity in rows:
        sums[meter, grade] = sums.get((meter, grade), 0) + quantity
    add_up(
        session,
        UsageTotal,
        [
            {"partition": partition, "meter": meter, "grade": grade, "quantity": quantity}
            for (meter, grade), quantity in sorted(sums.items())
        ],
        "quantity",
    )


def recorded(session: Session, partition: int, records: Iterable[Mapping[str, Any]]) -> None:
    """More usage records, as rows of their table."""
    sums: dict[tuple[str, bool], list[int]] = {}
    for record in records:
        key = (record["product_id"], bool(record["relate_pkg_instance"]))
        total = sums.setdefault(key, [0, 0])
        total[0] += 1
        total[1] += int(Decimal(record["value"]).scaleb(4))
    rows = [
        {
            "partition": partition,
            "product_id": product_id,
            "packaged": packaged,
            "records": count,
            "steps": steps,
        }
        for (product_id, packaged), (count, steps) in sorted(sums.items())
    ]
    add_up(session, RecordTotal, rows, "records", "steps")


def by_meter(session: Session) -> dict[tuple[str, str], int]:
    """What all customers ever used, by (meter, grade)."""
    query = select(UsageTotal.meter, UsageTotal.grade, func.sum(UsageTotal.quantity)).group_by(
        col(UsageTotal.meter), col(UsageTotal.grade)
    )
    return {(meter, grade): int(total) for meter, grade, total in session.exec(query)}


def by_product(session: Session) -> list[Recorded]:
    """What was ever recorded."""
    query: Any = select(
        RecordTotal.product_id,
        RecordTotal.packaged,
        func.sum(RecordTotal.records),
        func.sum(RecordTotal.steps),
    ).group_by(col(RecordTotal.product_id), col(RecordTotal.packaged))
    return [
        Recorded(product_id, bool(packaged), int(count), Decimal(int(steps)).scaleb(-4))
        for product_id, packaged, count, steps in session.exec(query)
    ]


# --- by customer ---------------------------------------------------------------------------


def added_up(session: Session) -> Window:
    """The first window that is not in the customers' totals."""
    row = session.get(Meta, _ADDED_UP)
    return Window(int(row.value) if row else 0)


def add_up_through(session: Session, end: Window) -> None:
    """Take the windows before `end`, which are closed, into the customers' totals; writes."""
    session.execute(select(Meta.key).where(col(Meta.key) == _LOCK).with_for_update())
    session.expire_all()
    begin = added_up(session)
    if end <= begin:
        return
    closed: Any = (
        select(UsageWindow.customer_id, UsageWindow.meter, func.sum(UsageWindow.quantity))
        .where(
            col(UsageWindow.window) >= begin,
            col(UsageWindow.window) < end,
            UsageWindow.instance_id == "",
        )
        .group_by(col(UsageWindow.customer_id), col(UsageWindow.meter))
    )
    insert = inserting(session, CustomerTotal).from_select(
        ["customer_id", "meter", "quantity"], closed
    )
    columns = CustomerTotal.__table__.c  # type: ignore[attr-defined]
    session.execute(
        insert.on_conflict_do_update(
            index_elements=["customer_id", "meter"],
            set_={"quantity": columns.quantity + insert.excluded.quantity},
        )
    )
    keep(session, _ADDED_UP, str(end))


def keep(session: Session, key: str, value: str) -> None:
    """A fact about the totals."""
    row = inserting(session, Meta).values(key=key, value=value)
    session.execute(
        row.on_conflict_do_update(index_elements=["key"], set_={"value": row.excluded.value})
    )


def kept(session: Session, key: str) -> str:
    """The same; empty where there is none."""
    row = session.get(Meta, key)
    return row.value if row else ""


def busiest(session: Session, limit: int) -> list[str]:
    """The customers with the most requests up to now, the busiest first."""
    sums: dict[str, int] = {}
    past: Any = (
        select(CustomerTotal.customer_id, CustomerTotal.quantity)
        .where(CustomerTotal.meter == REQUESTS)
        .order_by(col(CustomerTotal.quantity).desc())
        .limit(limit)
    )
    now: Any = (
        select(UsageWindow.customer_id, func.sum(UsageWindow.quantity))
        .where(
            col(UsageWindow.window) >= added_up(session),
            UsageWindow.instance_id == "",
            UsageWindow.meter == REQUESTS,
        )
        .group_by(col(UsageWindow.customer_id))
    )
    for query in (past, now):
        for customer_id, quantity in session.exec(query):
            sums[customer_id] = sums.get(customer_id, 0) + int(quantity)
    return sorted(sums, key=lambda customer_id: (-sums[customer_id], customer_id))[:limit]


def of_customers(session: Session, customer_ids: Sequence[str]) -> dict[tuple[str, str], int]:
    """What these customers ever used, by (customer, meter)."""
    found: dict[tuple[str, str], int] = {}
    begin = added_up(session)
    for some in in_parts(customer_ids):
        past: Any = select(
            CustomerTotal.customer_id, CustomerTotal.meter, CustomerTotal.quantity
        ).where(col(CustomerTotal.customer_id).in_(some))
        now: Any = (
            select(UsageWindow.customer_id, UsageWindow.meter, func.sum(UsageWindow.quantity))
            .where(
                col(UsageWindow.window) >= begin,
                col(UsageWindow.customer_id).in_(some),
                UsageWindow.instance_id == "",
            )
            .group_by(col(UsageWindow.customer_id), col(UsageWindow.meter))
        )
        for query in (past, now):
            for customer_id, meter, quantity in session.exec(query):
                key = (customer_id, meter)
                found[key] = found.get(key, 0) + int(quantity)
    return found


def instances(session: Session) -> dict[tuple[str, str, str], int]:
    """How many instances there are, by (product, package or pay_per_use, status)."""
    keys = (col(Instance.product_id), col(Instance.is_package), col(Instance.status))
    query: Any = select(*keys, func.count()).group_by(*keys)
    return {
        (product_id, "package" if is_package else "pay_per_use", status): int(count)
        for product_id, is_package, status, count in session.exec(query)
    }
