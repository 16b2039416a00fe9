"""The tables of what the marketplace's side waits for, maps, takes over and erases. Times are UTC ms."""

from sqlalchemy import BigInteger
from sqlmodel import Field, SQLModel


def _big(default: int | None = None) -> int:
    field: int = Field(default=default, sa_type=BigInteger)
    return field


class AwaitedChange(SQLModel, table=True):
    """A renewal that was answered, and whose other product is not known yet (spec §2.8).

    `product_id` is what the call named, empty where only the order tells. A row is gone when the
    instance goes on with the product, or with a newer one, or was released.
    """

    __tablename__ = "awaited_change"  # type: ignore[mutable-override]  # SQLModel types it so

    instance_id: str = Field(primary_key=True)
    order_id: str = Field(primary_key=True)
    order_line_id: str = Field(primary_key=True)
    product_id: str = ""
    sent_at: int = _big()
    received_at: int = _big()


class OrderNotice(SQLModel, table=True):
    """An order that orderNotify told of (spec §6); `known` when order query said what it is."""

    __tablename__ = "order_notice"  # type: ignore[mutable-override]  # SQLModel types it so

    order_id: str = Field(primary_key=True)
    order_line_id: str = Field(primary_key=True)
    received_at: int = Field(sa_type=BigInteger, index=True)
    known: int = _big(0)


class ProductMapping(SQLModel, table=True):
    """A product id that is not configured, and the configured product that it is metered as."""

    __tablename__ = "product_mapping"  # type: ignore[mutable-override]  # SQLModel types it so

    product_id: str = Field(primary_key=True)
    mapped_to: str
    author: str
    at: int = _big()


class OpeningTotal(SQLModel, table=True):
    """What an instance that was taken over had used before, in the meter's unit.

    It is shown and counts against a package's quota, and is never billed. `related_instance_id` is
    the pay-per-use instance that a package had given it to, and empty for one of these.
    """

    __tablename__ = "opening_total"  # type: ignore[mutable-override]  # SQLModel types it so

    instance_id: str = Field(primary_key=True)
    related_instance_id: str = Field(primary_key=True, default="")
    product_id: str  # the billing item
    quantity: int = _big()
    at: int = _big()


class Erasure(SQLModel, table=True):
    """That the buyer's data of a released instance were erased, and what that was. Only appended."""

    instance_id: str = Field(primary_key=True)
    at: int = Field(sa_type=BigInteger, index=True)
    callbacks: int  # whose bodies were emptied
    keys: int  # that were deleted, with the last instance of the customer
    named: bool  # whether the customer's name went as well
