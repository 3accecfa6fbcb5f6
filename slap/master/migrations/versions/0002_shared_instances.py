"""Shared instances."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("instance", sa.Column("host", sa.Text(), nullable=True))
    op.add_column("instance", sa.Column("serving", sa.Integer(), server_default="0", nullable=False))
    shared = sa.text("host IS NOT NULL")
    op.create_index("ix_instance_host", "instance", ["host"], sqlite_where=shared, postgresql_where=shared)
    able = sa.text("host IS NULL AND reported != 'destroyed'")
    op.create_index(
        "ix_instance_serving",
        "instance",
        ["owner", "release", "type", "serving"],
        sqlite_where=able,
        postgresql_where=able,
    )
