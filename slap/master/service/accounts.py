"""What the operator of a master does where its database is: users, and the credentials that are in force."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import Connection, create_engine, select

from slap.master.access.auth import CallerKind, issue_token
from slap.master.access.authority import CertificateAuthority, authority_of, in_pem, key_in_pem, new_key
from slap.master.access.certificate_table import Holder
from slap.master.access.revocation import revoke_computer, revoke_credential, revoke_user
from slap.master.database.engine import database_url, is_sqlite, migrate
from slap.master.database.postgres import notify
from slap.master.database.store import Transaction
from slap.master.database.tables import certificate, token
from slap.master.database.text import now
from slap.master.service.certificate import signed
from slap.master.service.rotation import rotate_authority, rotate_partition_secret
from slap.model.base import Name
from slap.model.errors import InvalidInput, NotFound

# So many digits of a digest or serial are shown and typed.
_SHORT = 12
_SHORTEST = 6


@dataclass(frozen=True)
class Credential:
    """A token or a certificate. `id` is the beginning of its digest or serial, by which it can be revoked."""

    id: str
    form: str  # token | certificate
    kind: str
    subject: str
    created_at: str
    expires_at: str = ""
    revoked_at: str = ""


def create_user(words: str, name: str) -> str:
    """A new token for the user `name` in the database at this URL: the only time that it is shown.

    A user is known by having a token; a second one for the same name works beside the first.
    """
    _check_name(name)
    with _database(words) as transaction:
        return issue_token(transaction.connection, CallerKind.USER, name)


def user_certificate(words: str, name: str, lifetime: float) -> str:
    """A new key and certificate for a user, in PEM: the only time that the key is shown."""
    _check_name(name)
    key = new_key()
    with _database(words) as transaction:
        holder = Holder(CallerKind.USER, name)
        issued = signed(transaction, authority_of(transaction), holder, key.public_key(), lifetime)
    return key_in_pem(key) + in_pem(issued)


def credentials(words: str, is_all: bool = False) -> list[Credential]:
    """Tokens and certificates of users, computers and partitions, the latest last; with `is_all`, those that ended too."""
    with _database(words) as transaction:
        connection = transaction.connection
        found = [*_tokens(connection, is_all), *_certificates(connection, is_all)]
    return sorted(found, key=lambda each: each.created_at)


def revoke(words: str, id: str) -> Credential:  # noqa: A002
    """End one token or certificate, and what was made by it. Each process of the master hears of it within a second."""
    with _database(words) as transaction:
        found, whole = _one(transaction.connection, id)
        revoke_credential(transaction, whole)
    return found


def revoke_all(words: str, kind: CallerKind, subject: str) -> int:
    """End all tokens and certificates of a user or a computer, and what hangs on them; returns how many of users and
    computers ended."""
    end = revoke_user if kind is CallerKind.USER else revoke_computer
    with _database(words) as transaction:
        return end(transaction, subject)


def renew_partition_secret(words: str) -> int:
    """End the tokens of all partitions; returns how many computers get new ones."""
    with _database(words) as transaction:
        return rotate_partition_secret(transaction)


def renew_authority(words: str) -> tuple[CertificateAuthority, int]:
    """End the authority with all its certificates; returns the one in its place, and how many certificates ended."""
    with _database(words) as transaction:
        return rotate_authority(transaction)


def _one(connection: Connection, id: str) -> tuple[Credential, str]:  # noqa: A002
    """The credential in force whose id begins so, and the whole of its digest or serial."""
    if len(id) < _SHORTEST or not set(id) <= set("0123456789abcdef"):
        raise InvalidInput(f"{id!r} is not an id.", "Type what the first column shows.", "slapos master credentials")
    found = [each for each in (*_tokens(connection, False), *_certificates(connection, False)) if _is(each, id)]
    if len(found) != 1:
        why = f"{len(found)} credentials begin with it." if found else "Nothing in force begins with it."
        raise NotFound(f"{id} names no credential.", why, "slapos master credentials")
    begins = [column.startswith(found[0].id, autoescape=True) for column in (token.c.digest, certificate.c.serial)]
    queries = [select(token.c.digest).where(begins[0]), select(certificate.c.serial).where(begins[1])]
    whole = next(key for query in queries for key in connection.execute(query).scalars())
    return found[0], str(whole)


def _is(each: Credential, id: str) -> bool:  # noqa: A002
    return each.id.startswith(id[:_SHORT])


def _tokens(connection: Connection, is_all: bool) -> Iterator[Credential]:
    query = select(token) if is_all else select(token).where(token.c.revoked_at.is_(None))
    for row in connection.execute(query):
        yield Credential(
            row.digest[:_SHORT], "token", row.kind, row.subject, row.created_at, revoked_at=row.revoked_at or ""
        )


def _certificates(connection: Connection, is_all: bool) -> Iterator[Credential]:
    in_force = certificate.c.revoked_at.is_(None) & (certificate.c.expires_at > now())
    query = select(certificate) if is_all else select(certificate).where(in_force)
    for row in connection.execute(query):
        yield Credential(
            row.serial[:_SHORT],
            "certificate",
            row.kind,
            row.subject,
            row.created_at,
            row.expires_at,
            row.revoked_at or "",
        )


def _check_name(name: str) -> None:
    try:
        TypeAdapter(Name).validate_python(name)
    except ValidationError as error:
        raise InvalidInput(
            f"{name!r} is not the name of a user.", error.errors()[0]["msg"], "Use letters and digits."
        ) from error


@contextmanager
def _database(words: str) -> Iterator[Transaction]:
    url = database_url(words)
    migrate(url)
    engine = create_engine(url)
    try:
        with engine.begin() as connection:
            transaction = Transaction(connection)
            yield transaction
            if not is_sqlite(url):  # with SQLite the master sees by itself that another process wrote
                notify(transaction, "operator")
    finally:
        engine.dispose()
