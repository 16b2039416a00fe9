"""The SQL of exports: usage records and usage per hour, streamed from one snapshot."""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from sqlmodel import Session, col, select

from billing_sync.models import UsageRecord, UsageWindow
from metering.windows import HOUR_MS

_ROWS: Final = 1000  # fetched together
_LAST: Final = 2**31 - 1  # the largest number that a column of windows takes


class Wanted(NamedTuple):
    """What is exported: what begins in [from_ms, to_ms), UTC, of one customer or of all."""

    from_ms: int = 0
    to_ms: int = 2**62
    customer_id: str | None = None


def records(session: Session, wanted: Wanted) -> Iterator[UsageRecord]:
    """Usage records by the beginning of their interval."""
    query = (
        select(UsageRecord)
        .where(UsageRecord.begin >= wanted.from_ms, UsageRecord.begin < wanted.to_ms)
        .order_by(col(UsageRecord.begin), col(UsageRecord.metering_sn))
    )
    yield from _stream(session, query, col(UsageRecord.customer_id), wanted)


def usage(session: Session, wanted: Wanted) -> Iterator[UsageWindow]:
    """Usage by the hour it was used in: every row of the ledger, customers' totals included."""
    first, end = (min(-(-ms // HOUR_MS), _LAST) for ms in (wanted.from_ms, wanted.to_ms))
    query = (
        select(UsageWindow)
        .where(UsageWindow.origin >= first, UsageWindow.origin < end)
        .order_by(
            col(UsageWindow.origin),
            col(UsageWindow.customer_id),
            col(UsageWindow.instance_id),
            col(UsageWindow.meter),
            col(UsageWindow.window),
            col(UsageWindow.route),
            col(UsageWindow.grade),
            col(UsageWindow.mark),
        )
    )
    yield from _stream(session, query, col(UsageWindow.customer_id), wanted)


def _stream(session: Session, query: Any, customer: Any, wanted: Wanted) -> Iterator[Any]:
    if wanted.customer_id is not None:
        query = query.where(customer == wanted.customer_id)
    # The session remembers rows only for as long as somebody else does.
    yield from session.exec(query.execution_options(yield_per=_ROWS))
