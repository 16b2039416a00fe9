"""The ledger as it was before it had revisions. Revision 0001.

What is there already stays as it is: ledgers that were made without revisions are taken over so.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """There is no way back but a backup."""
    _positions()
    _usage()
    _records()
    _findings()
    _sold()
    _callbacks()


def _positions() -> None:
    _table("meta", _text("key", primary_key=True), _text("value"))
    _table(
        "partition",
        _int("id", primary_key=True, autoincrement=False),
        _text("epoch"),
        _text("last"),
        _big("closed_through"),
    )
    _table(
        "checkpoint",
        _int("partition", primary_key=True),
        _text("lane", primary_key=True),
        _big("position"),
    )
    _table(
        "epoch",
        _text("id", primary_key=True),
        _int("partition"),
        _big("at"),
        _text("reason"),
    )
    _index("ix_epoch_partition", "epoch", "partition")
    _table(
        "drain",
        _text("id", primary_key=True),
        _int("partition"),
        _text("prev"),
        _text("epoch"),
        _big("at"),
        _text("positions"),
    )
    _index("ix_drain_partition_at", "drain", "partition", "at")
    _table(
        "salvage",
        _int("id", primary_key=True),
        _int("partition"),
        _big("at"),
        _text("reason"),
        _text("content"),
    )
    _index("ix_salvage_partition", "salvage", "partition")


def _usage() -> None:
    _table(
        "usage_window",
        _int("window", primary_key=True),
        _text("customer_id", primary_key=True),
        _text("instance_id", primary_key=True),
        _text("route", primary_key=True),
        _text("meter", primary_key=True),
        _text("grade", primary_key=True),
        _text("mark", primary_key=True),
        _int("origin", primary_key=True),
        _int("partition"),
        _big("quantity"),
        _big("recorded"),
    )
    _index("ix_usage_window_instance", "usage_window", "instance_id", "window")
    _index(
        "ix_usage_window_unrecorded",
        "usage_window",
        "partition",
        "window",
        sqlite_where=sa.text("quantity > recorded"),
        postgresql_where=sa.text("quantity > recorded"),
    )
    _table(
        "package_use",
        _text("package_id", primary_key=True),
        _text("instance_id", primary_key=True),
        _int("window", primary_key=True),
        _big("quantity"),
        _big("recorded"),
    )
    _index("ix_package_use_instance_id", "package_use", "instance_id")
    _table(
        "bucket",
        _text("instance_id", primary_key=True),
        _int("window", primary_key=True),
        _text("name", primary_key=True),
        _big("quantity"),
    )
    _table(
        "carry",
        _text("instance_id", primary_key=True),
        _text("package_id", primary_key=True),
        _big("quantity"),
        _big("waiting"),
        _text("origins"),
    )
    _table(
        "ahead",
        _text("instance_id", primary_key=True),
        _text("meter", primary_key=True),
        _int("origin", primary_key=True),
        _text("package_id", primary_key=True),
        _big("quantity"),
    )


def _records() -> None:
    _table(
        "usage_record",
        _text("metering_sn", primary_key=True),
        _text("instance_id"),
        _text("customer_id"),
        _text("product_id"),
        _text("meter"),
        _big("begin"),
        _big("end"),
        _big("recorded_at"),
        _big("quantity"),
        _text("value"),
        _big("unit"),
        _text("relate_pkg_instance"),
        _int("window"),
        _text("origins"),
        _bool("logged"),
        _text("state"),
        _int("attempts"),
        _big("next_attempt"),
        _bool("alone"),
        _big("sent_at"),
        _text("error"),
        sa.UniqueConstraint("instance_id", "begin", "end"),
    )
    _index("ix_usage_record_instance_id", "usage_record", "instance_id")
    _index("ix_usage_record_state", "usage_record", "state")
    _table("push_claim", _text("id", primary_key=True), _big("at"))
    _index("ix_push_claim_at", "push_claim", "at")


def _findings() -> None:
    _table(
        "finding",
        _int("id", primary_key=True),
        _text("identity"),
        _text("kind"),
        _text("lane"),
        _text("host"),
        _big("at"),
        _text("request_id"),
        _text("customer_id"),
        _text("route"),
        _big("started"),
        _int("partition"),
        _big("first"),
        _big("last"),
        _text("detail"),
        sa.UniqueConstraint("identity"),
    )
    _index("ix_finding_lane", "finding", "lane")


def _sold() -> None:
    _table("customer", _text("id", primary_key=True), _text("name"), _text("source"))
    _table(
        "api_key",
        _int("id", primary_key=True),
        _text("customer_id"),
        _text("digest"),
        _text("sealed"),
        _big("created"),
        _big("revoked"),
        sa.UniqueConstraint("digest"),
    )
    _index("ix_api_key_customer_id", "api_key", "customer_id")
    _table(
        "instance",
        _text("id", primary_key=True),
        _text("customer_id"),
        _text("product_id"),
        _text("order_id"),
        _text("order_line_id"),
        _bool("is_package"),
        _text("status"),
        _text("source"),
        _big("started"),
        _big("expires"),
        _big("released"),
        _big("recorded_until"),
    )
    for column in ("customer_id", "product_id", "order_id"):
        _index(f"ix_instance_{column}", "instance", column)
    _table(
        "order_line",
        _text("order_id", primary_key=True),
        _text("order_line_id", primary_key=True),
        _text("product_id"),
        _text("charging_mode"),
        _text("customer_id"),
        _text("customer_name"),
        _text("raw"),
    )


def _callbacks() -> None:
    _table(
        "lifecycle_inbox",
        _int("id", primary_key=True),
        _text("identity"),
        _text("activity"),
        _text("instance_id"),
        _text("body"),
        _big("sent_at"),
        _big("received_at"),
        _text("answer"),
        sa.UniqueConstraint("identity"),
    )
    _index("ix_lifecycle_inbox_instance_id", "lifecycle_inbox", "instance_id")
    _table("projection_outbox", _text("customer_id", primary_key=True), _big("since"))


def _table(name: str, *columns: Any) -> None:
    op.create_table(name, *columns, if_not_exists=True)


def _index(name: str, table: str, *columns: str, **where: Any) -> None:
    op.create_index(name, table, list(columns), if_not_exists=True, **where)


def _text(name: str, **more: Any) -> sa.Column[str]:
    return sa.Column(name, sa.String(), nullable=False, **more)


def _int(name: str, **more: Any) -> sa.Column[int]:
    return sa.Column(name, sa.Integer(), nullable=False, **more)


def _big(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=False)


def _bool(name: str) -> sa.Column[bool]:
    return sa.Column(name, sa.Boolean(), nullable=False)
