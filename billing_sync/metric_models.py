"""The tables behind metrics: running totals, so that a scrape is one small look at any age."""

from sqlalchemy import BigInteger
from sqlmodel import Field, SQLModel


class UsageTotal(SQLModel, table=True):
    """All usage of customers that was ever booked, kept in the transactions that book it. In the
    meter's unit; by partition, so that partitions do not wait for each other."""

    __tablename__ = "usage_total"  # type: ignore[mutable-override]  # SQLModel types it so

    partition: int = Field(primary_key=True)
    meter: str = Field(primary_key=True)
    grade: str = Field(primary_key=True)
    quantity: int = Field(default=0, sa_type=BigInteger)


class CustomerTotal(SQLModel, table=True):
    """What a customer used in the windows that `Meta` says were added up already."""

    __tablename__ = "customer_total"  # type: ignore[mutable-override]  # SQLModel types it so

    customer_id: str = Field(primary_key=True)
    meter: str = Field(primary_key=True)
    quantity: int = Field(default=0, sa_type=BigInteger)


class RecordTotal(SQLModel, table=True):
    """All usage records that were ever made, kept in the transactions that make them. `steps` are
    ten-thousandths of a billing unit; `packaged` are those that name a package."""

    __tablename__ = "record_total"  # type: ignore[mutable-override]  # SQLModel types it so

    partition: int = Field(primary_key=True)
    product_id: str = Field(primary_key=True)
    packaged: bool = Field(primary_key=True)
    records: int = Field(default=0, sa_type=BigInteger)
    steps: int = Field(default=0, sa_type=BigInteger)
