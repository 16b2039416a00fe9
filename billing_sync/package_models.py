"""The tables of packages besides `models`: running totals, so that a balance is one small look."""

from sqlalchemy import BigInteger
from sqlmodel import Field, SQLModel


class PackageTotal(SQLModel, table=True):
    """What a package gave to a pay-per-use instance for a billing item, over its whole life.

    The sum of PackageUse.quantity, kept in the same transactions; in the meter's unit. `item` is the
    product the quota was for when it was given: the instance may have another one since.
    """

    __tablename__ = "package_total"  # type: ignore[mutable-override]  # SQLModel types it so

    package_id: str = Field(primary_key=True)
    instance_id: str = Field(primary_key=True, index=True)
    item: str = Field(primary_key=True)
    quantity: int = Field(default=0, sa_type=BigInteger)
