"""What a credential made, and how often those of a computer were revoked."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    for table in ("token", "certificate", "registration"):
        op.add_column(table, sa.Column("made_by", sa.Text(), server_default="", nullable=False))
    op.add_column("computer", sa.Column("epoch", sa.Integer(), server_default="0", nullable=False))
    op.add_column("computer", sa.Column("revoked_at", sa.Text(), nullable=True))
