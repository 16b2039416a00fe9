"""The SQL of deadlines: how many records and billing units are not pushed, and how near it is."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Numeric,
    and_,
    case,
    cast,
    func,
    literal_column,
    not_,
    or_,
)
from sqlmodel import Session, col, select

from billing_sync.deadlines import Deadline
from billing_sync.models import UsageRecord
from billing_sync.states import UNPUSHED, WITHHELD, State


class Waiting(NamedTuple):
    """Unpushed records of one product. `units` are billing units, `nearest` is the earliest end, or
    for expiry the earliest begin; `passed` are those of the records whose deadline is over."""

    product_id: str
    records: int
    units: Decimal
    passed: int
    nearest: int


class Cutoffs(NamedTuple):
    """Ends (for expiry begins) up to which a record is at risk, and up to which it is too late."""

    at_risk: int
    passed: int


def waiting(
    session: Session, kind: Deadline, cutoffs: Cutoffs, daily: Sequence[str]
) -> list[Waiting]:
    """Who waits under this class of deadline; only `nearest` also speaks of those not at risk.

    `daily` are the products whose billing cycle is a day.
    """
    at = col(UsageRecord.begin if kind is Deadline.EXPIRY else UsageRecord.end)
    risky = at <= cutoffs.at_risk
    query: Any = select(  # type: ignore[call-overload]
        col(UsageRecord.product_id),
        func.sum(case((risky, 1), else_=0)),
        func.sum(case((risky, steps()), else_=0)),
        func.sum(case((at <= cutoffs.passed, 1), else_=0)),
        func.min(at),
    )
    query = query.where(*_of(kind, cutoffs.passed, daily)).group_by(col(UsageRecord.product_id))
    return [
        Waiting(product_id, int(records), Decimal(int(steps)).scaleb(-4), int(passed), int(nearest))
        for product_id, records, steps, passed, nearest in session.exec(query)
    ]


def _of(kind: Deadline, passed: int, daily: Sequence[str]) -> list[ColumnElement[bool]]:
    state = col(UsageRecord.state)
    if kind is Deadline.EXPIRY:  # a dead letter may still be mended until then
        letter = and_(
            state == State.REJECTED,
            col(UsageRecord.code) != WITHHELD,
            col(UsageRecord.begin) > passed,
        )
        return [or_(state.in_(UNPUSHED), letter)]
    of_day = col(UsageRecord.product_id).in_(daily)
    return [state.in_(UNPUSHED), of_day if kind is Deadline.DAILY else not_(of_day)]


def steps() -> ColumnElement[int]:
    """The value in ten-thousandths. SQLite reckons in doubles here, which hold every such number
    exactly: values have four decimals and stay below 10^8 (records.MAX_STEPS)."""
    scaled = cast(col(UsageRecord.value), Numeric) * literal_column("10000")
    return cast(func.round(scaled), BigInteger)
