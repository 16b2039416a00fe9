"""The SQL of the marketplace's own list of records: what we have of it, and what it settles."""

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from sqlmodel import Session, col, select

from billing_sync.models import UsageRecord

_ROWS: Final = 1000
TAKEN: Final = ("sent", "collected", "confirmed")


class Ours(NamedTuple):
    """What a usage record says."""

    metering_sn: str
    instance_id: str
    begin: int
    end: int
    value: str
    state: str


def ours(session: Session, serials: Sequence[str]) -> dict[str, Ours]:
    """Those of the records that the ledger has."""
    query = _columns().where(col(UsageRecord.metering_sn).in_(serials))
    return {row[0]: Ours(*row) for row in session.exec(query)}


def taken(session: Session, *, begin: int, end: int) -> Iterator[Ours]:
    """Every record within [begin, end) that the marketplace is believed to have."""
    query = _columns().where(
        col(UsageRecord.state).in_(TAKEN), UsageRecord.begin >= begin, UsageRecord.end <= end
    )
    for row in session.exec(query.execution_options(yield_per=_ROWS)):
        yield Ours(*row)


def _columns() -> Any:
    return select(  # type: ignore[call-overload]
        UsageRecord.metering_sn,
        UsageRecord.instance_id,
        UsageRecord.begin,
        UsageRecord.end,
        UsageRecord.value,
        UsageRecord.state,
    )
