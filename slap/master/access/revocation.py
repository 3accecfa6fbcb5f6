"""The end of credentials, with all that hangs on them: what they made, and what those whom they name own.

Each function works within a transaction and wakes REVOCATION: every process of the master then forgets which callers it
knows, and looks again at those that wait in a long poll.
"""

from collections.abc import Iterator

from sqlalchemy import ColumnElement, Connection, Table, delete, select, update

from slap.master.access.auth import CallerKind
from slap.master.access.certificate_table import Holder, has_certificate, revoke_certificates
from slap.master.database.hub import REVOCATION, computer_topic
from slap.master.database.store import Transaction
from slap.master.database.tables import certificate, computer, instance, is_living, registration, token
from slap.master.database.text import now


def revoke_user(transaction: Transaction, name: str) -> int:
    """End what names a user, the one-time tokens made by the user, and the credentials of the user's computers; returns
    how many tokens and certificates of the user and of computers ended."""
    connection = transaction.connection
    transaction.wake(REVOCATION)
    connection.execute(delete(registration).where(registration.c.owner == name, registration.c.used_at.is_(None)))
    owned = connection.execute(select(computer.c.guid).where(computer.c.owner == name).order_by(computer.c.guid))
    count = sum(revoke_computer(transaction, guid) for guid in owned.scalars().all())
    return count + _end_all(connection, Holder(CallerKind.USER, name))


def revoke_computer(transaction: Transaction, guid: str) -> int:
    """End the credentials of a computer and of its partitions; returns how many tokens and certificates of it ended.

    Its partitions get new tokens once it has a credential again.
    """
    connection = transaction.connection
    count = _end_all(connection, Holder(CallerKind.COMPUTER, guid))
    _end_partitions(transaction, guid)
    note_absence(connection, guid)
    return count


def revoke_certificates_of_computer(transaction: Transaction, guid: str) -> None:
    """The same for a computer that may have tokens besides, which stay in force."""
    revoke_certificates(transaction.connection, Holder(CallerKind.COMPUTER, guid))
    _end_partitions(transaction, guid)
    note_absence(transaction.connection, guid)


def revoke_credential(transaction: Transaction, id: str) -> None:  # noqa: A002
    """End the token with this digest, or the certificate with this serial, and whatever it made, directly or not."""
    connection = transaction.connection
    transaction.wake(REVOCATION)
    ended = list(_with_descendants(connection, id))
    for table, key in ((token, token.c.digest), (certificate, certificate.c.serial)):
        connection.execute(update(table).where(key.in_(ended), table.c.revoked_at.is_(None)).values(revoked_at=now()))
    connection.execute(delete(registration).where(registration.c.digest.in_(ended), registration.c.used_at.is_(None)))
    # Of one-time tokens that an earlier version made, nothing says by which credential of a user.
    users = select(token.c.subject).where(token.c.kind == CallerKind.USER, token.c.digest.in_(ended))
    of_before = (registration.c.made_by == "", registration.c.owner.in_(users), registration.c.used_at.is_(None))
    connection.execute(delete(registration).where(*of_before))
    for guid in sorted(_computers_of(connection, ended)):
        _end_partitions(transaction, guid)
        note_absence(connection, guid)


def admit_computer(connection: Connection, guid: str) -> None:
    """A computer has got a credential: instances may be placed on it again."""
    connection.execute(update(computer).where(computer.c.guid == guid).values(revoked_at=None))


def _end_all(connection: Connection, holder: Holder) -> int:
    tokens = update(token).where(
        token.c.kind == holder.kind, token.c.subject == holder.subject, token.c.revoked_at.is_(None)
    )
    count = connection.execute(tokens.values(revoked_at=now())).rowcount
    return count + revoke_certificates(connection, holder)


def _end_partitions(transaction: Transaction, guid: str) -> None:
    """Certificates of its instances end; their tokens too, which are derived from the computer's epoch. The node is told
    of all instances anew, with the next tokens."""
    connection = transaction.connection
    transaction.wake(REVOCATION)
    transaction.wake(computer_topic(guid))
    inside = select(instance.c.guid).where(instance.c.computer == guid, is_living)
    ended = (certificate.c.kind == CallerKind.PARTITION, certificate.c.subject.in_(inside))
    connection.execute(update(certificate).where(*ended, certificate.c.revoked_at.is_(None)).values(revoked_at=now()))
    changed = {"epoch": computer.c.epoch + 1, "revision": computer.c.revision + 1}
    revision = connection.execute(
        update(computer).where(computer.c.guid == guid).values(changed).returning(computer.c.revision)
    ).scalar()
    again = {"revision": revision, "bang": instance.c.bang + 1}  # their profiles hold the tokens of before
    connection.execute(update(instance).where(instance.c.computer == guid, is_living).values(again))


def note_absence(connection: Connection, guid: str) -> None:
    """Nothing more is placed on a computer that nobody can speak for."""
    holder = Holder(CallerKind.COMPUTER, guid)
    in_force = (token.c.kind == holder.kind, token.c.subject == guid, token.c.revoked_at.is_(None))
    has_token = connection.execute(select(token.c.digest).where(*in_force).limit(1)).first() is not None
    if not has_token and not has_certificate(connection, holder):
        connection.execute(update(computer).where(computer.c.guid == guid).values(revoked_at=now()))


def _with_descendants(connection: Connection, id: str) -> Iterator[str]:  # noqa: A002
    """A credential and all that it made: tokens, certificates, one-time tokens, and what those made in turn."""
    found, new = {id}, {id}
    yield id
    while new:
        made = (select(key).where(table.c.made_by.in_(new)) for table, key in _MADE)
        new = {str(each) for query in made for each in connection.execute(query).scalars()} - found
        found |= new
        yield from new


_MADE: tuple[tuple[Table, ColumnElement[str]], ...] = (
    (token, token.c.digest),
    (certificate, certificate.c.serial),
    (registration, registration.c.digest),
)


def _computers_of(connection: Connection, ended: list[str]) -> set[str]:
    """The computers that some credentials name."""
    of_tokens = select(token.c.subject).where(token.c.kind == CallerKind.COMPUTER, token.c.digest.in_(ended))
    of_certificates = select(certificate.c.subject).where(
        certificate.c.kind == CallerKind.COMPUTER, certificate.c.serial.in_(ended)
    )
    return {guid for query in (of_tokens, of_certificates) for guid in connection.execute(query).scalars()}
