"""What the classic protocol needs: the forms in which it brought parameters, and the interfaces of partitions."""

import json

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_CONFIGURATIONS = sa.text("SELECT computer, document FROM configuration")
_TAP = sa.text("UPDATE partition SET tap = :tap WHERE computer = :computer AND name = :name")


def upgrade() -> None:
    for name in ("serialisation", "published"):
        op.add_column("instance", sa.Column(name, sa.Text(), server_default="", nullable=False))
    for name in ("tap", "route"):
        op.add_column("partition", sa.Column(name, sa.Text(), server_default="", nullable=False))
    connection = op.get_bind()
    for computer, document in connection.execute(_CONFIGURATIONS).all():
        for each in json.loads(document)["partitions"]:
            if each.get("tap"):
                connection.execute(_TAP, {"tap": each["tap"], "computer": computer, "name": each["name"]})
