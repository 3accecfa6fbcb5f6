"""Which history of the database the revisions of a computer belong to."""

import secrets

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

_SETTING = sa.text("INSERT INTO setting (name, value) VALUES ('incarnation', :value)")
_COMPUTERS = sa.text("UPDATE computer SET incarnation = :value")


def upgrade() -> None:
    for name in ("incarnation", "former_incarnation"):
        op.add_column("computer", sa.Column(name, sa.Text(), server_default="", nullable=False))
    op.add_column("computer", sa.Column("incarnation_start", sa.Integer(), server_default="0", nullable=False))
    first = {"value": secrets.token_hex(16)}
    op.get_bind().execute(_SETTING, first)
    op.get_bind().execute(_COMPUTERS, first)
