"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "computer",
        sa.Column("guid", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("network", sa.Text(), server_default="", nullable=False),
        sa.Column("labels", sa.Text(), server_default="{}", nullable=False),
        sa.Column("capabilities", sa.Text(), server_default="[]", nullable=False),
        sa.Column("free_partitions", sa.Integer(), server_default="0", nullable=False),
        sa.Column("revision", sa.Integer(), server_default="1", nullable=False),
        sa.Column("seen_at", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("guid", name=op.f("pk_computer")),
    )
    op.create_index(op.f("ix_computer_owner_free_partitions"), "computer", ["owner", "free_partitions"], unique=False)
    op.create_index(op.f("ix_computer_owner_title"), "computer", ["owner", "title"], unique=True)
    op.create_table(
        "release",
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("url", name=op.f("pk_release")),
    )
    op.create_table(
        "setting",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_setting")),
    )
    op.create_table(
        "token",
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Text(), nullable=False),
        sa.Column("revoked_at", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_token")),
    )
    op.create_index(op.f("ix_token_kind_subject"), "token", ["kind", "subject"], unique=False)
    op.create_table(
        "configuration",
        sa.Column("computer", sa.Text(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["computer"], ["computer.guid"], name=op.f("fk_configuration_computer")),
        sa.PrimaryKeyConstraint("computer", name=op.f("pk_configuration")),
    )
    op.create_table(
        "instance",
        sa.Column("guid", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("requester", sa.Text(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("root", sa.Text(), nullable=False),
        sa.Column("parent", sa.Text(), nullable=True),
        sa.Column("depth", sa.Integer(), nullable=False),
        sa.Column("computer", sa.Text(), nullable=False),
        sa.Column("partition", sa.Text(), nullable=False),
        sa.Column("release", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("parameters", sa.Text(), nullable=False),
        sa.Column("sla", sa.Text(), nullable=False),
        sa.Column("wanted", sa.Text(), nullable=False),
        sa.Column("requested", sa.Text(), nullable=False),
        sa.Column("reported", sa.Text(), server_default="", nullable=False),
        sa.Column("message", sa.Text(), server_default="", nullable=False),
        sa.Column("promises", sa.Text(), server_default="[]", nullable=False),
        sa.Column("connection", sa.Text(), server_default="{}", nullable=False),
        sa.Column("bang", sa.Integer(), server_default="0", nullable=False),
        sa.Column("children", sa.Integer(), server_default="0", nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("reported_revision", sa.Integer(), server_default="0", nullable=False),
        sa.Column("tree_revision", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_at", sa.Text(), nullable=False),
        sa.Column("changed_at", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["computer"], ["computer.guid"], name=op.f("fk_instance_computer")),
        sa.ForeignKeyConstraint(["release"], ["release.url"], name=op.f("fk_instance_release")),
        sa.PrimaryKeyConstraint("guid", name=op.f("pk_instance")),
    )
    op.create_index(op.f("ix_instance_computer_revision"), "instance", ["computer", "revision"], unique=False)
    op.create_index(op.f("ix_instance_root_depth"), "instance", ["root", "depth"], unique=False)
    op.create_index(
        "uq_instance_living",
        "instance",
        ["requester", "reference"],
        unique=True,
        sqlite_where=sa.text("reported != 'destroyed'"),
        postgresql_where=sa.text("reported != 'destroyed'"),
    )
    op.create_table(
        "supply",
        sa.Column("computer", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("requested", sa.Text(), nullable=False),
        sa.Column("reported", sa.Text(), server_default="", nullable=False),
        sa.Column("message", sa.Text(), server_default="", nullable=False),
        sa.Column("log", sa.Text(), server_default="", nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("reported_revision", sa.Integer(), server_default="0", nullable=False),
        sa.Column("changed_at", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["computer"], ["computer.guid"], name=op.f("fk_supply_computer")),
        sa.ForeignKeyConstraint(["url"], ["release.url"], name=op.f("fk_supply_url")),
        sa.PrimaryKeyConstraint("computer", "url", name=op.f("pk_supply")),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_supply_url"), "supply", ["url"], unique=False)
    op.create_table(
        "history",
        sa.Column("instance", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("at", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("request", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["instance"], ["instance.guid"], name=op.f("fk_history_instance")),
        sa.PrimaryKeyConstraint("instance", "number", name=op.f("pk_history")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "log_request",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("computer", sa.Text(), nullable=False),
        sa.Column("instance", sa.Text(), nullable=False),
        sa.Column("partition", sa.Text(), nullable=False),
        sa.Column("lines", sa.Integer(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["computer"], ["computer.guid"], name=op.f("fk_log_request_computer")),
        sa.ForeignKeyConstraint(["instance"], ["instance.guid"], name=op.f("fk_log_request_instance")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_log_request")),
    )
    op.create_index(op.f("ix_log_request_computer_revision"), "log_request", ["computer", "revision"], unique=False)
    op.create_table(
        "partition",
        sa.Column("computer", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("addresses", sa.Text(), server_default="[]", nullable=False),
        sa.Column("instance", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["computer"], ["computer.guid"], name=op.f("fk_partition_computer")),
        sa.ForeignKeyConstraint(
            ["instance"], ["instance.guid"], name=op.f("fk_partition_instance"), initially="DEFERRED", deferrable=True
        ),
        sa.PrimaryKeyConstraint("computer", "name", name=op.f("pk_partition")),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_partition_free",
        "partition",
        ["computer", "ordinal"],
        unique=False,
        sqlite_where=sa.text("instance IS NULL"),
        postgresql_where=sa.text("instance IS NULL"),
    )
    op.create_index(
        "uq_partition_instance",
        "partition",
        ["instance"],
        unique=True,
        sqlite_where=sa.text("instance IS NOT NULL"),
        postgresql_where=sa.text("instance IS NOT NULL"),
    )
