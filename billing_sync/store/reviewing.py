"""The SQL of held records: new ones with what is known about them, those whose time has come."""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import ColumnElement, case, func, update
from sqlmodel import Session, col, select

from billing_sync import origins
from billing_sync.models import UsageRecord, UsageWindow
from billing_sync.states import TAKEN, State
from billing_sync.store.engine import in_parts
from billing_sync.store.outbox import SOME, is_new
from billing_sync.store.risks import steps
from metering.usage import Grade

_BASELINE_MS: Final = 62 * 86_400_000  # older records say little, and history is long

Earlier = dict[tuple[str, str], list[Decimal]]
Shares = dict[str, tuple[int, int]]


def new_records(session: Session) -> list[UsageRecord]:
    """Some records that nobody has looked at, locked for the rest of the transaction."""
    query = select(UsageRecord).where(is_new()).limit(SOME).with_for_update(skip_locked=True)
    return list(session.exec(query))


def recent(
    session: Session, records: Sequence[UsageRecord], since: int
) -> dict[tuple[str, str], tuple[int, Decimal]]:
    """How many records began since then and were pushed, and the lowest value among them, by
    (instance, product). One row each: most need no second look."""
    keys = (col(UsageRecord.instance_id), col(UsageRecord.product_id))
    query: Any = select(*keys, func.count(), func.min(steps()))
    query = query.where(_was_pushed(), UsageRecord.begin > since).group_by(*keys)
    found = {}
    for some in in_parts(sorted({record.instance_id for record in records})):
        of_these = query.where(col(UsageRecord.instance_id).in_(some))
        for instance_id, product_id, count, lowest in session.exec(of_these):
            found[instance_id, product_id] = (int(count), Decimal(int(lowest)).scaleb(-4))
    return found


def earlier_values(session: Session, records: Iterable[UsageRecord], most: int) -> Earlier:
    """The values of the last `most` records that were pushed, by (instance, product)."""
    records = list(records)
    since = min((record.begin for record in records), default=0) - _BASELINE_MS
    found: Earlier = {}
    for some in in_parts(sorted({record.instance_id for record in records})):
        place = func.row_number().over(
            partition_by=(col(UsageRecord.instance_id), col(UsageRecord.product_id)),
            order_by=col(UsageRecord.begin).desc(),
        )
        ranked = (
            select(
                col(UsageRecord.instance_id),
                col(UsageRecord.product_id),
                col(UsageRecord.value),
                place.label("place"),
            )
            .where(
                col(UsageRecord.instance_id).in_(some),
                _was_pushed(),
                UsageRecord.begin > since,
            )
            .subquery()
        )
        query: Any = select(ranked.c.instance_id, ranked.c.product_id, ranked.c.value)
        for instance_id, product_id, value in session.exec(query.where(ranked.c.place <= most)):
            found.setdefault((instance_id, product_id), []).append(Decimal(value))
    return found


def estimated_shares(session: Session, records: Sequence[UsageRecord]) -> Shares:
    """(estimated, all) of the usage in the windows behind each record, in meter units, by serial."""
    windows = {record.metering_sn: _windows(record) for record in records}
    every = [window for mine in windows.values() for window in mine]
    sums: dict[tuple[str, str, int], tuple[int, int]] = {}
    for some in in_parts(sorted({record.instance_id for record in records})):
        for *key, estimated, used in session.exec(_sums(some, min(every), max(every))):
            instance_id, meter, window = key
            sums[instance_id, meter, window] = (int(estimated), int(used))
    found: Shares = {}
    for record in records:
        keys = [(record.instance_id, record.meter, each) for each in windows[record.metering_sn]]
        parts = [sums.get(key, (0, 0)) for key in keys]
        found[record.metering_sn] = (sum(e for e, _ in parts), sum(u for _, u in parts))
    return found


def due_releases(session: Session, now_ms: int) -> list[UsageRecord]:
    """Some held records whose time has come, locked for the rest of the transaction."""
    query = (
        select(UsageRecord)
        .where(
            UsageRecord.state == State.HELD,
            UsageRecord.release_by > 0,
            UsageRecord.release_by <= now_ms,
        )
        .limit(SOME)
        .with_for_update(skip_locked=True)
    )
    return list(session.exec(query))


def mark_reviewed(session: Session, serials: Sequence[str]) -> None:
    """These may be pushed."""
    matching = col(UsageRecord.metering_sn).in_(serials)
    session.execute(update(UsageRecord).where(matching).values(reviewed=True))


def _was_pushed() -> ColumnElement[bool]:
    return col(UsageRecord.state).in_([State.SENDING, *TAKEN])


def _windows(record: UsageRecord) -> set[int]:
    """Where usage behind the record is booked: late usage in the record's own window."""
    return {record.window} | {window for window, _ in origins.decode(record.origins)}


def _sums(instance_ids: Sequence[str], first: int, last: int) -> Any:
    quantity = col(UsageWindow.quantity)
    estimated = case((col(UsageWindow.grade) == Grade.ESTIMATED, quantity), else_=0)
    keys = (
        col(UsageWindow.instance_id),
        col(UsageWindow.meter),
        col(UsageWindow.window),
    )
    query: Any = select(*keys, func.sum(estimated), func.sum(quantity))  # type: ignore[call-overload]
    return query.where(
        col(UsageWindow.instance_id).in_(instance_ids),
        col(UsageWindow.window) >= first,
        col(UsageWindow.window) <= last,
    ).group_by(*keys)
