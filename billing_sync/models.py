"""Every table of the ledger, and nothing else. All times are UTC milliseconds since the epoch.

Quantities are 64-bit integers in the meter's smallest unit; values that are pushed are decimal
text. Money and quantity never touch a float.
"""

from typing import Any

from sqlalchemy import BigInteger, Index, UniqueConstraint, text
from sqlmodel import Field, SQLModel

# Of an index: what a close looks for is little, however long the history.
_OPEN: Any = dict.fromkeys(("sqlite_where", "postgresql_where"), text("quantity > recorded"))


def _big(default: int | None = None) -> int:
    field: int = Field(default=default, sa_type=BigInteger)
    return field


# --- the pipeline's positions (metering/counters is the other half) -------------------------


class Meta(SQLModel, table=True):
    """Facts about the ledger itself: the number of partitions, and why billing is stopped."""

    key: str = Field(primary_key=True)
    value: str


class Partition(SQLModel, table=True):
    """One row per partition; its row lock orders drains and closes.

    `closing` is the end of the window whose close has begun, and maybe not ended: what comes in for
    it from then on is late.
    """

    id: int = Field(primary_key=True)
    epoch: str
    last: str
    closed_through: int = _big(0)
    closing: int = _big(0)


class Checkpoint(SQLModel, table=True):
    """How far a lane has been added to the ledger, per partition."""

    partition: int = Field(primary_key=True)
    lane: str = Field(primary_key=True)
    position: int = _big()


class Epoch(SQLModel, table=True):
    """Every epoch a partition had, and why it began: `first start`, or the reason of its reset.

    Ids that Redis named when this ledger was found set back stand here too: they are known now.
    """

    id: str = Field(primary_key=True)
    partition: int = Field(index=True)
    at: int = _big()
    reason: str


class Drain(SQLModel, table=True):
    """Every drain that was committed: the chain of ids is the lineage."""

    __table_args__ = (Index("ix_drain_partition_at", "partition", "at"),)

    id: str = Field(primary_key=True)
    partition: int
    prev: str
    epoch: str
    at: int = _big()
    positions: str  # JSON {lane: [n, m]}: the lane's records n < number <= m came with this drain


# --- usage ---------------------------------------------------------------------------------


class UsageWindow(SQLModel, table=True):
    """Usage per UTC hour. `instance_id` is empty for the customer's total on the route.

    `recorded` is the part of `quantity` that already stands in usage records or buckets. `origin`
    is the window the usage happened in; it differs from `window`, where it is billed, only for what
    is marked.
    """

    __tablename__ = "usage_window"  # type: ignore[mutable-override]  # SQLModel types it so
    __table_args__ = (
        Index("ix_usage_window_instance", "instance_id", "window"),
        Index("ix_usage_window_unrecorded", "partition", "instance_id", "window", **_OPEN),
    )

    window: int = Field(primary_key=True)
    customer_id: str = Field(primary_key=True)
    instance_id: str = Field(primary_key=True, default="")
    route: str = Field(primary_key=True)
    meter: str = Field(primary_key=True)
    grade: str = Field(primary_key=True)
    mark: str = Field(primary_key=True, default="")  # "", late, clock or assigned
    origin: int = Field(primary_key=True)
    partition: int
    quantity: int = _big(0)
    recorded: int = _big(0)


class PackageUse(SQLModel, table=True):
    """What a package gave to a pay-per-use instance in a window, in the meter's unit."""

    __tablename__ = "package_use"  # type: ignore[mutable-override]  # SQLModel types it so
    __table_args__ = (Index("ix_package_use_unrecorded", "instance_id", "window", **_OPEN),)

    package_id: str = Field(primary_key=True)
    instance_id: str = Field(primary_key=True, index=True)
    window: int = Field(primary_key=True)
    quantity: int = _big(0)
    recorded: int = _big(0)


class Bucket(SQLModel, table=True):
    """Usage that no record will carry, by name: unbillable, overshoot, agents_gateway."""

    instance_id: str = Field(primary_key=True)
    window: int = Field(primary_key=True)
    name: str = Field(primary_key=True)
    quantity: int = _big(0)


class Carry(SQLModel, table=True):
    """The remainder below four decimals, in ten-thousandths of the meter's unit.

    `waiting` are the whole meter units in it that no record's `quantity` covers yet, `origins` their
    windows (see UsageRecord). `quantity` is below zero only after a recovery in which records came
    back without those whose remainder they had taken over, or after an adjustment. `unit` is the one
    by which it was divided last: a remainder is less than that, so one that is not was changed since
    and is worth a record of its own. After an upgrade to another meter `package_id` ends with the
    old product (see upgrades.py).
    """

    __table_args__ = (
        Index(  # what a close looks for: as good as always empty
            "ix_carry_due",
            "instance_id",
            "package_id",
            sqlite_where=text("quantity >= unit"),
            postgresql_where=text("quantity >= unit"),
        ),
    )

    instance_id: str = Field(primary_key=True)
    package_id: str = Field(primary_key=True, default="")
    quantity: int = _big(0)
    waiting: int = _big(0)
    unit: int = _big(1)
    origins: str = "[]"


class Ahead(SQLModel, table=True):
    """Usage that records already carry and that the lanes have still to bring again to a ledger
    that was set back. The windows are its own; a row is gone when all of it has come."""

    instance_id: str = Field(primary_key=True)
    meter: str = Field(primary_key=True)
    origin: int = Field(primary_key=True)
    package_id: str = Field(primary_key=True, default="")
    quantity: int = _big()


class UsageRecord(SQLModel, table=True):
    """One SDR (话单) and its way to the marketplace: the outbox."""

    __tablename__ = "usage_record"  # type: ignore[mutable-override]  # SQLModel types it so
    __table_args__ = (UniqueConstraint("instance_id", "begin", "end"),)

    metering_sn: str = Field(primary_key=True)
    instance_id: str = Field(index=True)
    customer_id: str
    product_id: str
    meter: str
    begin: int = _big()
    end: int = _big()
    recorded_at: int = _big()
    quantity: int = _big()  # meter units covered, before the carry
    value: str  # billing units, decimal text with at most four decimals
    unit: int = _big(1)  # the product's, by which the quantity was divided
    relate_pkg_instance: str = ""
    window: int
    origins: str = "[]"  # JSON [[window, quantity], ...]: when the quantity was used
    logged: bool = False  # it stands in the push log
    state: str = Field(default="pending", index=True)
    attempts: int = 0
    next_attempt: int = _big(0)
    alone: bool = False  # its batch was refused whole: pushed by itself from now on
    sent_at: int = _big(0)
    code: str = ""  # why it is held, rejected or expired: the marketplace's code, or our word
    error: str = ""
    reviewed: bool = False  # nobody needs to look at it (any more) before it is pushed
    release_by: int = _big(0)  # when a held record goes by itself; 0: when a person says so
    collected_at: int = _big(0)  # the collection it is assumed to have been in
    confirmed_at: int = _big(0)


class PushClaim(SQLModel, table=True):
    """Every batch that was claimed to be pushed: one that only the push log knows was forgotten."""

    __tablename__ = "push_claim"  # type: ignore[mutable-override]  # SQLModel types it so

    id: str = Field(primary_key=True)
    at: int = Field(sa_type=BigInteger, index=True)


# --- the marketplace's side ----------------------------------------------------------------


class CustomerRow(SQLModel, table=True):
    """A buyer (order query's buyerInfo) or a static customer."""

    __tablename__ = "customer"  # type: ignore[mutable-override]  # SQLModel types it so

    id: str = Field(primary_key=True)
    name: str = ""
    source: str = "koogallery"  # koogallery | static


class Instance(SQLModel, table=True):
    """What a customer bought and got provisioned."""

    __table_args__ = (
        Index(  # what the erasing job looks for: little, however many there were
            "ix_instance_unerased",
            "released",
            sqlite_where=text("released > 0 AND erased = 0"),
            postgresql_where=text("released > 0 AND erased = 0"),
        ),
    )

    id: str = Field(primary_key=True)
    customer_id: str = Field(default="", index=True)  # empty until the buyer is known
    product_id: str = Field(default="", index=True)
    order_id: str = Field(default="", index=True)
    order_line_id: str = ""
    is_package: bool = False
    status: str = "creating"  # metering.entitlement.InstanceStatus
    source: str = "koogallery"
    started: int = _big()
    expires: int = _big(0)
    released: int = _big(0)
    recorded_until: int = _big(0)  # end of its last usage record
    linear_value: int = _big(1)  # the quantity the buyer chose, by which a package's quota grows
    trial: bool = False  # not paid for
    formal: int = _big(0)  # when a trial was told to be paid for from now on; it may be told first
    product_since: int = _big(0)  # timestamp of the call that its product comes from
    erased: int = _big(0)  # when the buyer's data were erased


class OrderLine(SQLModel, table=True):
    """What order query said of one order line."""

    __tablename__ = "order_line"  # type: ignore[mutable-override]  # SQLModel types it so

    order_id: str = Field(primary_key=True)
    order_line_id: str = Field(primary_key=True)
    product_id: str
    charging_mode: str = ""
    customer_id: str = ""
    customer_name: str = ""
    raw: str = ""  # JSON as received


class LifecycleInbox(SQLModel, table=True):
    """Every lifecycle callback once; a repeat gets the stored answer."""

    __tablename__ = "lifecycle_inbox"  # type: ignore[mutable-override]  # SQLModel types it so

    id: int | None = Field(default=None, primary_key=True)
    identity: str = Field(unique=True)
    activity: str
    instance_id: str = Field(index=True)
    body: str
    sent_at: int = _big()  # the callback's own timestamp
    received_at: int = _big()
    answer: str  # JSON


class ProjectionOutbox(SQLModel, table=True):
    """Customers whose entitlement must still be written to Redis."""

    __tablename__ = "projection_outbox"  # type: ignore[mutable-override]  # SQLModel types it so

    customer_id: str = Field(primary_key=True)
    since: int = _big()
