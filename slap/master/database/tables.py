"""The tables, for SQLite and PostgreSQL alike. Documents are JSON text, times are ISO 8601 in UTC.

Every query of a hot path has its index here: no request costs more because there are more partitions.
"""

from typing import Any

from sqlalchemy import (
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Row,
    Table,
    Text,
    literal_column,
    text,
)

# A row of any query.
AnyRow = Row[*tuple[Any, ...]]

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _where(condition: str) -> dict[str, Any]:
    """The condition of a partial index."""
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}


setting = Table("setting", metadata, Column("name", Text, primary_key=True), Column("value", Text, nullable=False))

token = Table(
    "token",
    metadata,
    Column("digest", Text, primary_key=True),  # SHA-256 of the secret, which is stored nowhere
    Column("kind", Text, nullable=False),  # user | computer
    Column("subject", Text, nullable=False),
    Column("created_at", Text, nullable=False),
    Column("revoked_at", Text),
    # The credential whose caller asked for this one; empty for the operator's. What it made is revoked with it.
    Column("made_by", Text, nullable=False, server_default=""),
    Index(None, "kind", "subject"),
)

certificate = Table(
    "certificate",
    metadata,
    Column("serial", Text, primary_key=True),  # in hexadecimal digits
    Column("kind", Text, nullable=False),  # user | computer | partition
    Column("subject", Text, nullable=False),
    Column("created_at", Text, nullable=False),
    Column("expires_at", Text, nullable=False),
    Column("revoked_at", Text),
    Column("made_by", Text, nullable=False, server_default=""),
    Index(None, "kind", "subject"),
)

# One-time tokens by which nodes register.
registration = Table(
    "registration",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("title", Text, nullable=False),  # of the computer that it is for; empty for any
    Column("guid", Text, nullable=False),  # the same; empty for a new one
    Column("created_at", Text, nullable=False),
    Column("expires_at", Text, nullable=False),
    Column("used_at", Text),
    Column("made_by", Text, nullable=False, server_default=""),
    Index(None, "owner"),
)

computer = Table(
    "computer",
    metadata,
    Column("guid", Text, primary_key=True),
    Column("owner", Text, nullable=False),  # the user that registered it
    Column("title", Text, nullable=False),
    # What orders filter on, out of the configuration.
    Column("network", Text, nullable=False, server_default=""),
    Column("labels", Text, nullable=False, server_default="{}"),
    Column("capabilities", Text, nullable=False, server_default="[]"),
    Column("free_partitions", Integer, nullable=False, server_default="0"),
    Column("revision", Integer, nullable=False, server_default="1"),
    # The history of the database that the revision belongs to, its first revision here, and the one before.
    Column("incarnation", Text, nullable=False, server_default=""),
    Column("incarnation_start", Integer, nullable=False, server_default="0"),
    Column("former_incarnation", Text, nullable=False, server_default=""),
    Column("seen_at", Text),
    # How often its credentials were revoked: the tokens of its partitions are derived from it.
    Column("epoch", Integer, nullable=False, server_default="0"),
    Column("revoked_at", Text),  # null while it has credentials; nothing is placed on it otherwise
    Index(None, "owner", "title", unique=True),
    Index(None, "owner", "free_partitions"),
)

# Apart from the computer, whose row every order changes: this one may be large.
configuration = Table(
    "configuration",
    metadata,
    Column("computer", Text, ForeignKey("computer.guid"), primary_key=True),
    Column("document", Text, nullable=False),
)

partition = Table(
    "partition",
    metadata,
    Column("computer", Text, ForeignKey("computer.guid"), nullable=False),
    Column("name", Text, nullable=False),
    Column("ordinal", Integer, nullable=False),
    Column("addresses", Text, nullable=False, server_default="[]"),
    Column("tap", Text, nullable=False, server_default=""),
    Column("route", Text, nullable=False, server_default=""),  # what is routed to the tap interface; empty for nothing
    Column("instance", Text, ForeignKey("instance.guid", deferrable=True, initially="DEFERRED")),
    PrimaryKeyConstraint("computer", "name"),
    sqlite_with_rowid=False,
)
# Two indexes, so that looking for a free partition does not wade through all that are free.
Index("ix_partition_free", partition.c.computer, partition.c.ordinal, **_where("instance IS NULL"))
Index("uq_partition_instance", partition.c.instance, unique=True, **_where("instance IS NOT NULL"))

release = Table("release", metadata, Column("url", Text, primary_key=True), Column("document", Text, nullable=False))

# The JSON Schemas of the types of a release, apart: an order needs one of many. `document` above is without them.
release_schema = Table(
    "release_schema",
    metadata,
    Column("url", Text, ForeignKey("release.url"), nullable=False),
    Column("type", Text, nullable=False),  # its key in the document
    Column("role", Text, nullable=False),  # parameters | connection
    Column("schema", Text, nullable=False),
    PrimaryKeyConstraint("url", "type", "role"),
)

supply = Table(
    "supply",
    metadata,
    Column("computer", Text, ForeignKey("computer.guid"), nullable=False),
    Column("url", Text, ForeignKey("release.url"), nullable=False),
    Column("requested", Text, nullable=False),
    Column("reported", Text, nullable=False, server_default=""),
    Column("message", Text, nullable=False, server_default=""),
    Column("log", Text, nullable=False, server_default=""),
    Column("revision", Integer, nullable=False),
    Column("reported_revision", Integer, nullable=False, server_default="0"),
    Column("changed_at", Text, nullable=False),
    PrimaryKeyConstraint("computer", "url"),
    Index(None, "url"),
    sqlite_with_rowid=False,
)

instance = Table(
    "instance",
    metadata,
    Column("guid", Text, primary_key=True),
    Column("owner", Text, nullable=False),  # the user whose tree it is in
    Column("requester", Text, nullable=False),
    Column("reference", Text, nullable=False),
    Column("root", Text, nullable=False),
    Column("parent", Text),  # null for a root
    Column("depth", Integer, nullable=False),
    Column("computer", Text, ForeignKey("computer.guid"), nullable=False),
    Column("partition", Text, nullable=False),
    Column("host", Text),  # of a shared instance: the one that serves it, in whose partition it is; null for all others
    Column("serving", Integer, nullable=False, server_default="0"),  # how many shared instances it serves
    Column("release", Text, ForeignKey("release.url"), nullable=False),
    Column("type", Text, nullable=False),
    Column("parameters", Text, nullable=False),
    Column("sla", Text, nullable=False),
    Column("wanted", Text, nullable=False),  # what its requester asked
    Column("requested", Text, nullable=False),  # the same, unless something above it is stopped or destroyed
    Column("reported", Text, nullable=False, server_default=""),
    Column("message", Text, nullable=False, server_default=""),
    Column("promises", Text, nullable=False, server_default="[]"),
    Column("connection", Text, nullable=False, server_default="{}"),
    # The forms in which the classic protocol brought the parameters and the connection; empty when they tell by themselves.
    Column("serialisation", Text, nullable=False, server_default=""),
    Column("published", Text, nullable=False, server_default=""),
    Column("bang", Integer, nullable=False, server_default="0"),
    Column("children", Integer, nullable=False, server_default="0"),
    Column("revision", Integer, nullable=False),  # of the computer, when this row last changed for its node
    Column("reported_revision", Integer, nullable=False, server_default="0"),  # which of these the node reports of
    Column("tree_revision", Integer, nullable=False, server_default="1"),  # meant only on the root of a tree
    Column("created_at", Text, nullable=False),
    Column("changed_at", Text, nullable=False),
    Index(None, "root", "depth"),
    Index(None, "computer", "revision"),
)
# A name is free again once its instance is gone.
Index(
    "uq_instance_living", instance.c.requester, instance.c.reference, unique=True, **_where("reported != 'destroyed'")
)

Index("ix_instance_host", instance.c.host, **_where("host IS NOT NULL"))
# What may serve shared instances, those that serve the fewest first.
Index(
    "ix_instance_serving",
    instance.c.owner,
    instance.c.release,
    instance.c.type,
    instance.c.serving,
    **_where("host IS NULL AND reported != 'destroyed'"),
)

# As a literal: with a parameter in its place the databases would not use the index above.
is_living = instance.c.reported != literal_column("'destroyed'")

history = Table(
    "history",
    metadata,
    Column("instance", Text, ForeignKey("instance.guid"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("at", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("request", Text, nullable=False),
    PrimaryKeyConstraint("instance", "number"),
    sqlite_with_rowid=False,
)

log_request = Table(
    "log_request",
    metadata,
    Column("id", Text, primary_key=True),
    Column("computer", Text, ForeignKey("computer.guid"), nullable=False),
    Column("instance", Text, ForeignKey("instance.guid"), nullable=False),
    Column("partition", Text, nullable=False),
    Column("lines", Integer, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("created_at", Text, nullable=False),
    Column("text", Text),  # null until the node answered
    Index(None, "computer", "revision"),
)

# Instances that another master placed: who asked here, what for, and what was answered there.
forwarded = Table(
    "forwarded",
    metadata,
    Column("requester", Text, nullable=False),
    Column("reference", Text, nullable=False),
    Column("guid", Text, nullable=False),
    Column("master_url", Text, nullable=False),
    Column("request", Text, nullable=False),
    Column("answer", Text, nullable=False),
    Column("revision", Integer, nullable=False, server_default="1"),
    Column("created_at", Text, nullable=False),
    Column("changed_at", Text, nullable=False),
    PrimaryKeyConstraint("requester", "reference"),
    Index(None, "guid"),
    sqlite_with_rowid=False,
)

# What an instance used, a day of it in one document: each report of a node replaces it.
usage = Table(
    "usage",
    metadata,
    Column("instance", Text, ForeignKey("instance.guid"), primary_key=True),
    Column("document", Text, nullable=False),
)
