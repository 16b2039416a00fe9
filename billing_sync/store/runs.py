"""The SQL of what closed hours became: their usage rows and records, by state."""

from typing import Any, NamedTuple

from sqlalchemy import func
from sqlmodel import Session, col, select

from billing_sync.models import UsageRecord


class Closed(NamedTuple):
    """One hour of billing: how many records stand in each state, and when the last was made."""

    window: int
    states: dict[str, int]
    made_at: int

    @property
    def records(self) -> int:
        """All of them."""
        return sum(self.states.values())


def closed(session: Session, first: int, end: int) -> list[Closed]:
    """The hours [first, end) in which anything was billed, the newest first."""
    query: Any = select(
        UsageRecord.window,
        UsageRecord.state,
        func.count(),
        func.max(UsageRecord.recorded_at),
    )
    query = query.where(UsageRecord.window >= first, UsageRecord.window <= end)
    found: dict[int, Closed] = {}
    for window, state, count, made_at in session.exec(
        query.group_by(col(UsageRecord.window), col(UsageRecord.state))
    ):
        hour = found.get(window, Closed(window, {}, 0))
        hour.states[state] = int(count)
        found[window] = hour._replace(made_at=max(hour.made_at, int(made_at)))
    return [found[window] for window in sorted(found, reverse=True)]
