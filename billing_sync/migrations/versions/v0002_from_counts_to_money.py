"""Adjustments, suspense, acts of persons, upgrades, and running totals of packages. Revision 0002."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """There is no way back but a backup."""
    op.create_table(
        "adjustment",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("instance_id", sa.String(), nullable=False),
        sa.Column("customer_id", sa.String(), nullable=False),
        sa.Column("meter", sa.String(), nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.Column("author", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("adjustment", schema=None) as batch_op:
        batch_op.create_index("ix_adjustment_at", ["at", "id"], unique=False)
        batch_op.create_index(
            batch_op.f("ix_adjustment_instance_id"), ["instance_id"], unique=False
        )

    op.create_table(
        "assignment",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("customer_id", sa.String(), nullable=False),
        sa.Column("instance_id", sa.String(), nullable=False),
        sa.Column("meter", sa.String(), nullable=False),
        sa.Column("window", sa.Integer(), nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.Column("parts", sa.String(), nullable=False),
        sa.Column("author", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("assignment", schema=None) as batch_op:
        batch_op.create_index("ix_assignment_at", ["at", "id"], unique=False)
        batch_op.create_index(
            batch_op.f("ix_assignment_customer_id"), ["customer_id"], unique=False
        )
        batch_op.create_index(
            batch_op.f("ix_assignment_instance_id"), ["instance_id"], unique=False
        )

    op.create_table(
        "package_total",
        sa.Column("package_id", sa.String(), nullable=False),
        sa.Column("instance_id", sa.String(), nullable=False),
        sa.Column("item", sa.String(), nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("package_id", "instance_id", "item"),
    )
    with op.batch_alter_table("package_total", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_package_total_instance_id"), ["instance_id"], unique=False
        )

    op.create_table(
        "record_act",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("metering_sn", sa.String(), nullable=False),
        sa.Column("act", sa.String(), nullable=False),
        sa.Column("author", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("record_act", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_record_act_metering_sn"), ["metering_sn"], unique=False
        )

    op.create_table(
        "suspense",
        sa.Column("customer_id", sa.String(), nullable=False),
        sa.Column("product_id", sa.String(), nullable=False),
        sa.Column("route", sa.String(), nullable=False),
        sa.Column("meter", sa.String(), nullable=False),
        sa.Column("grade", sa.String(), nullable=False),
        sa.Column("origin", sa.Integer(), nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.Column("assigned", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("customer_id", "product_id", "route", "meter", "grade", "origin"),
    )
    op.create_table(
        "upgrade",
        sa.Column("instance_id", sa.String(), nullable=False),
        sa.Column("order_id", sa.String(), nullable=False),
        sa.Column("order_line_id", sa.String(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.Column("old_product_id", sa.String(), nullable=False),
        sa.Column("new_product_id", sa.String(), nullable=False),
        sa.Column("settled", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("instance_id", "order_id", "order_line_id"),
    )
    with op.batch_alter_table("upgrade", schema=None) as batch_op:
        batch_op.create_index(
            "ix_upgrade_open",
            ["partition"],
            unique=False,
            sqlite_where=sa.text("settled = 0"),
            postgresql_where=sa.text("settled = 0"),
        )

    with op.batch_alter_table("carry", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column("unit", sa.BigInteger(), server_default=sa.text("1"), nullable=False)
        )
        batch_op.create_index(
            "ix_carry_due",
            ["instance_id", "package_id"],
            unique=False,
            sqlite_where=sa.text("quantity >= unit"),
            postgresql_where=sa.text("quantity >= unit"),
        )

    with op.batch_alter_table("instance", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column("linear_value", sa.BigInteger(), server_default=sa.text("1"), nullable=False)
        )

    with op.batch_alter_table("package_use", schema=None) as batch_op:
        batch_op.create_index(
            "ix_package_use_unrecorded",
            ["instance_id", "window"],
            unique=False,
            sqlite_where=sa.text("quantity > recorded"),
            postgresql_where=sa.text("quantity > recorded"),
        )

    with op.batch_alter_table("partition", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column("closing", sa.BigInteger(), server_default=sa.text("0"), nullable=False)
        )

    with op.batch_alter_table("usage_record", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column("code", sa.String(), server_default=sa.text("('')"), nullable=False)
        )
        batch_op.add_column(
            sa.Column("reviewed", sa.Boolean(), server_default=sa.text("(false)"), nullable=False)
        )
        batch_op.add_column(
            sa.Column("release_by", sa.BigInteger(), server_default=sa.text("0"), nullable=False)
        )
        batch_op.add_column(
            sa.Column("collected_at", sa.BigInteger(), server_default=sa.text("0"), nullable=False)
        )
        batch_op.add_column(
            sa.Column("confirmed_at", sa.BigInteger(), server_default=sa.text("0"), nullable=False)
        )

    with op.batch_alter_table("usage_window", schema=None) as batch_op:
        batch_op.drop_index(
            batch_op.f("ix_usage_window_unrecorded"), sqlite_where=sa.text("quantity > recorded")
        )
        batch_op.create_index(
            "ix_usage_window_unrecorded",
            ["partition", "instance_id", "window"],
            unique=False,
            sqlite_where=sa.text("quantity > recorded"),
            postgresql_where=sa.text("quantity > recorded"),
        )
    op.execute(
        "insert into package_total (package_id, instance_id, item, quantity) "
        "select u.package_id, u.instance_id, i.product_id, sum(u.quantity) "
        "from package_use u join instance i on i.id = u.instance_id "
        "group by u.package_id, u.instance_id, i.product_id"
    )
