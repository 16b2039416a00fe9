"""Versions of balances (local, for tests of this branch). Revision 0003."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """There is no way back but a backup."""
    op.create_table(
        "balance_version",
        sa.Column("customer_id", sa.String(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("told", sa.BigInteger(), nullable=False),
        sa.Column("told_epoch", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("customer_id"),
    )
    with op.batch_alter_table("balance_version", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_balance_version_partition"), ["partition"])
