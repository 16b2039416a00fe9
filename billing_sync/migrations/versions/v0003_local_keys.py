"""Keys (local, for tests of this branch). Revision 0003."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """There is no way back but a backup."""
    op.create_table(
        "key_use",
        sa.Column("key_id", sa.String(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key_id"),
    )
    with op.batch_alter_table("api_key", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column("expires", sa.BigInteger(), nullable=False, server_default="0")
        )
        batch_op.add_column(sa.Column("replaced_by", sa.Integer(), nullable=True))
        batch_op.add_column(sa.Column("name", sa.String(), nullable=False, server_default=""))
        batch_op.add_column(sa.Column("shown", sa.String(), nullable=False, server_default=""))
        batch_op.add_column(sa.Column("routes", sa.String(), nullable=False, server_default="[]"))
        batch_op.add_column(
            sa.Column("source", sa.String(), nullable=False, server_default="koogallery")
        )
    with op.batch_alter_table("api_key", schema=None) as batch_op:
        for column in ("expires", "name", "shown", "routes", "source"):
            batch_op.alter_column(column, server_default=None)
