"""The certificates that were issued, by their serials: what the master knows a caller with a certificate by."""

from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509
from sqlalchemy import ColumnElement, Connection, and_, delete, insert, select, update

from slap.master.access.auth import CallerKind
from slap.master.database.tables import certificate
from slap.master.database.text import now


@dataclass(frozen=True)
class Holder:
    """Whom a certificate is for: the name of a user, the guid of a computer or of an instance; and by which credential
    it was asked for, empty for the operator."""

    kind: CallerKind
    subject: str
    made_by: str = ""

    @property
    def holds(self) -> ColumnElement[bool]:
        return and_(certificate.c.kind == self.kind, certificate.c.subject == self.subject)


def note(connection: Connection, holder: Holder, issued: x509.Certificate) -> None:
    """Remember a certificate, and forget those of the same holder that have expired."""
    connection.execute(delete(certificate).where(holder.holds, certificate.c.expires_at < now()))
    row = {
        "serial": serial_of(issued),
        "kind": holder.kind,
        "subject": holder.subject,
        "created_at": now(),
        "expires_at": in_text(issued.not_valid_after_utc),
        "made_by": holder.made_by,
    }
    connection.execute(insert(certificate), row)


def revoke_certificates(connection: Connection, holder: Holder) -> int:
    """All certificates of a holder end; how many there were."""
    query = update(certificate).where(holder.holds, certificate.c.revoked_at.is_(None))
    return connection.execute(query.values(revoked_at=now())).rowcount


def has_certificate(connection: Connection, holder: Holder) -> bool:
    """Whether a holder has a certificate in force."""
    in_force = select(certificate.c.serial).where(
        holder.holds, certificate.c.revoked_at.is_(None), certificate.c.expires_at > now()
    )
    return connection.execute(in_force.limit(1)).first() is not None


def serial_of(issued: x509.Certificate) -> str:
    return serial_in_text(issued.serial_number)


def serial_in_text(number: int) -> str:
    return f"{number:x}"


def in_text(moment: datetime) -> str:
    """As the database has times, so that texts compare as times do."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")
