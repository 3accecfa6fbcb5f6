"""The schemas of releases apart from their documents."""

import json

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

_URLS = sa.text("SELECT url FROM release")
_DOCUMENT = sa.text("SELECT document FROM release WHERE url = :url")
_WITHOUT = sa.text("UPDATE release SET document = :document WHERE url = :url")
_SCHEMA = sa.text("INSERT INTO release_schema (url, type, role, schema) VALUES (:url, :type, :role, :schema)")


def upgrade() -> None:
    op.create_table(
        "release_schema",
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("url", "type", "role", "schema")),
        sa.ForeignKeyConstraint(["url"], ["release.url"], name=op.f("fk_release_schema_url")),
        sa.PrimaryKeyConstraint("url", "type", "role", name=op.f("pk_release_schema")),
    )
    connection = op.get_bind()
    for url in connection.execute(_URLS).scalars().all():
        document = json.loads(connection.execute(_DOCUMENT, {"url": url}).scalar_one())
        for key, described in document.get("types", {}).items():
            for role in ("parameters", "connection"):
                schema = described.pop(f"{role}_schema", None)
                if schema:
                    text = json.dumps(schema, sort_keys=True, separators=(",", ":"))
                    connection.execute(_SCHEMA, {"url": url, "type": key, "role": role, "schema": text})
        connection.execute(_WITHOUT, {"url": url, "document": json.dumps(document)})
