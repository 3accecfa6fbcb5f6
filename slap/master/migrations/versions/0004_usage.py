"""Usage."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "usage",
        sa.Column("instance", sa.Text(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["instance"], ["instance.guid"], name=op.f("fk_usage_instance_instance")),
        sa.PrimaryKeyConstraint("instance", name=op.f("pk_usage")),
    )
