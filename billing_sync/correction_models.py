"""The tables of corrections: adjustments, usage that matched no instance, and what was assigned of it.

Adjustments and assignments are only ever appended. Quantities are 64-bit integers in the meter's
smallest unit, windows UTC hours, times UTC milliseconds.
"""

from sqlalchemy import BigInteger, Index
from sqlmodel import Field, SQLModel


def _big(default: int | None = None) -> int:
    field: int = Field(default=default, sa_type=BigInteger)
    return field


class Adjustment(SQLModel, table=True):
    """What a person added to an instance's usage, or took from it (below zero), and why.

    It stands in the instance's `Carry` too, and is netted into its next usage records.
    """

    __table_args__ = (Index("ix_adjustment_at", "at", "id"),)

    id: str = Field(primary_key=True)  # given by whoever asked, so that a repeat is known
    instance_id: str = Field(index=True)
    customer_id: str
    meter: str
    quantity: int = _big()
    author: str
    reason: str
    at: int = _big()


class Suspense(SQLModel, table=True):
    """Usage in the hour `origin` that was charged to no instance, although the route sells a product.

    `assigned` is the part of it that was charged to an instance later. It exceeds `quantity` only
    after a recovery, until the lanes have brought the usage again.
    """

    customer_id: str = Field(primary_key=True)
    product_id: str = Field(primary_key=True)
    route: str = Field(primary_key=True)
    meter: str = Field(primary_key=True)
    grade: str = Field(primary_key=True)
    origin: int = Field(primary_key=True)
    quantity: int = _big(0)
    assigned: int = _big(0)


class Assignment(SQLModel, table=True):
    """Suspense that a person charged to an instance, and why. It is billed in `window`."""

    __table_args__ = (Index("ix_assignment_at", "at", "id"),)

    id: str = Field(primary_key=True)
    customer_id: str = Field(index=True)
    instance_id: str = Field(index=True)
    meter: str
    window: int
    quantity: int = _big()
    parts: str  # JSON [[product, route, grade, origin, quantity], ...]
    author: str
    reason: str
    at: int = _big()
