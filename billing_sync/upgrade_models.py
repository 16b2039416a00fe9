"""The table of upgrades: when an instance went from one product to another. Times are UTC ms."""

from sqlalchemy import BigInteger, Index, text
from sqlmodel import Field, SQLModel


class Upgrade(SQLModel, table=True):
    """One order line that changed an instance's product (spec §2.11).

    `settled` once what was used before stands in records of the old product.
    """

    __table_args__ = (
        Index(  # what a sync run looks for: as good as always empty
            "ix_upgrade_open",
            "partition",
            sqlite_where=text("settled = 0"),
            postgresql_where=text("settled = 0"),
        ),
    )

    instance_id: str = Field(primary_key=True)
    order_id: str = Field(primary_key=True)
    order_line_id: str = Field(primary_key=True)
    partition: int
    at: int = Field(sa_type=BigInteger)
    received_at: int = Field(sa_type=BigInteger)
    old_product_id: str
    new_product_id: str
    settled: int = 0
