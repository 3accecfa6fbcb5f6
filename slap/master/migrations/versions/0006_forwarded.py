"""Orders that other masters placed."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

_TEXTS = ("requester", "reference", "guid", "master_url", "request", "answer", "created_at", "changed_at")


def upgrade() -> None:
    op.create_table(
        "forwarded",
        *(sa.Column(name, sa.Text(), nullable=False) for name in _TEXTS),
        sa.Column("revision", sa.Integer(), server_default="1", nullable=False),
        sa.PrimaryKeyConstraint("requester", "reference", name=op.f("pk_forwarded")),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_forwarded_guid"), "forwarded", ["guid"])
