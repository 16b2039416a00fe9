"""The table of what the lending bank must be told."""

from sqlalchemy import BigInteger
from sqlmodel import Field, SQLModel


class BalanceVersion(SQLModel, table=True):
    """Which version a customer's balances are of: it grows in every transaction that changes one.

    `told` is the newest one that the bank has taken, in the epoch `told_epoch` of the partition; in any
    other epoch it knows nothing. Customers without packages have no row.
    """

    __tablename__ = "balance_version"  # type: ignore[mutable-override]  # SQLModel types it so

    customer_id: str = Field(primary_key=True)
    partition: int = Field(index=True)
    version: int = Field(default=1, sa_type=BigInteger)
    told: int = Field(default=0, sa_type=BigInteger)
    told_epoch: str = ""
