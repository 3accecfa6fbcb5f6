"""New secrets in place of those that others may know: that of partitions' tokens, and the certificate authority.

Each function works within a transaction of the operator's, where the master's database is.
"""

import secrets

from sqlalchemy import Connection, delete, insert, select, update

from slap.master.access.auth import PARTITION_SECRET
from slap.master.access.authority import AUTHORITY, CertificateAuthority, new_authority
from slap.master.access.revocation import note_absence
from slap.master.computer import bump
from slap.master.database.hub import REVOCATION
from slap.master.database.store import Transaction
from slap.master.database.tables import certificate, computer, instance, is_living, registration, setting
from slap.master.database.text import now, to_json


def rotate_partition_secret(transaction: Transaction) -> int:
    """End the tokens of all partitions, and have nodes instantiate them anew with the next ones; returns how many nodes."""
    connection = transaction.connection
    transaction.wake(REVOCATION)
    _replace(connection, PARTITION_SECRET, secrets.token_hex(32))
    guids = connection.execute(select(computer.c.guid).order_by(computer.c.guid)).scalars().all()
    for guid in guids:
        changed = {"bang": instance.c.bang + 1, "revision": bump(transaction, guid)}
        connection.execute(update(instance).where(instance.c.computer == guid, is_living).values(changed))
    return len(guids)


def rotate_authority(transaction: Transaction) -> tuple[CertificateAuthority, int]:
    """Make another authority, and end all certificates and one-time tokens of the former one; returns the new authority,
    and how many certificates ended. Masters that run use it once they are restarted."""
    connection, made = transaction.connection, new_authority()
    transaction.wake(REVOCATION)
    _replace(connection, AUTHORITY, to_json({"certificate": made.certificate, "key": made.key}))
    connection.execute(delete(registration).where(registration.c.used_at.is_(None)))
    ended = update(certificate).where(certificate.c.revoked_at.is_(None), certificate.c.expires_at > now())
    count = connection.execute(ended.values(revoked_at=now())).rowcount
    for guid in connection.execute(select(computer.c.guid).order_by(computer.c.guid)).scalars().all():
        note_absence(connection, guid)
    return made, count


def _replace(connection: Connection, name: str, value: str) -> None:
    connection.execute(delete(setting).where(setting.c.name == name))
    connection.execute(insert(setting), {"name": name, "value": value})
