"""Certificates that their authority took back: its signed list, fetched again and again, and kept across restarts."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from slap.model.errors import Forbidden, InvalidInput, SlapError
from slap.system import files
from slap.system.transport import HttpTransport, Tls

log = logging.getLogger(__name__)

_MAX_BYTES = 32 << 20
_TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True)
class RevocationList:
    """A list whose signature is right."""

    pem: bytes = field(repr=False)
    serials: frozenset[str] = field(repr=False)
    made_at: datetime
    ends_at: datetime


class RevokedCertificates:
    """Tells which certificates are refused. While there is no list that is in force, that is all of them.

    `source` is the URL or file of the list: without one, none is refused. `kept` is a file for the last good list.
    """

    def __init__(self, source: str, authority: Path | None, kept: Path) -> None:
        self._source = source
        self._kept = kept
        self._authorities = _read_authorities(authority) if authority and source else []
        # The list proves itself by its signature, and nothing secret is sent for it.
        self._transport = HttpTransport(Tls(is_checked=False), _MAX_BYTES)
        self._list = self._load()
        self._trouble = ""

    def find_refusal(self, serial: str) -> str:
        """Why a certificate is refused; empty for one that may be used."""
        if not self._source:
            return ""
        if self._list is None:
            return f"There is no list of revoked certificates here yet: it could not be fetched from {self._source}."
        if self._list.ends_at < datetime.now(UTC):
            return f"The list of revoked certificates here ended at {self._list.ends_at}; a newer one could not be had."
        return "This certificate was revoked by its authority." if serial in self._list.serials else ""

    def fetch(self) -> None:
        """Take a newer list up. Where that fails, the former one stays, and the log says why, once for each reason."""
        try:
            found = parse_list(self._read(), self._authorities)
            if self._list is None or found.made_at > self._list.made_at:
                files.write(self._kept, found.pem, 0o600)
                self._list = found
            trouble = self.find_refusal("")
        except (SlapError, OSError) as error:
            trouble = f"The list of revoked certificates was not taken from {self._source}. {error}"
            if why := self.find_refusal(""):
                trouble += f"\nAll certificates are refused. {why}"
        if trouble and trouble != self._trouble:
            log.error("%s", trouble)
        elif self._trouble and not trouble:
            log.info("The list of revoked certificates is in force again.")
        self._trouble = trouble

    def _read(self) -> bytes:
        if urlsplit(self._source).scheme not in ("http", "https"):
            return files.read_bytes(Path(self._source), _MAX_BYTES)
        reply = self._transport.send("GET", self._source, {}, None, _TIMEOUT_SECONDS)
        if reply.status != 200:
            raise InvalidInput(f"{self._source} answers with status {reply.status}.")
        return reply.body

    def _load(self) -> RevocationList | None:
        """The list of before a restart."""
        try:
            return parse_list(files.read_bytes(self._kept, _MAX_BYTES), self._authorities) if self._source else None
        except (SlapError, OSError):
            return None


def parse_list(pem: bytes, authorities: Sequence[x509.Certificate]) -> RevocationList:
    """Raises InvalidInput for what is no list, and Forbidden for one that none of the authorities signed."""
    try:
        found = x509.load_pem_x509_crl(pem)
        serials = frozenset(f"{each.serial_number:x}" for each in found)
        made_at, ends_at = found.last_update_utc, found.next_update_utc
    except ValueError as error:
        raise InvalidInput("This is no list of revoked certificates.", "It should be an X.509 CRL in PEM.") from error
    if ends_at is None:
        raise InvalidInput("The list of revoked certificates does not say until when it is good.")
    if not any(_is_signed(found, each) for each in authorities):
        raise Forbidden("The list of revoked certificates is not signed by the authority.")
    return RevocationList(pem, serials, made_at, ends_at)


def _is_signed(found: x509.CertificateRevocationList, authority: x509.Certificate) -> bool:
    try:
        return found.issuer == authority.subject and found.is_signature_valid(authority.public_key())  # type: ignore[arg-type]
    except (TypeError, UnsupportedAlgorithm):
        return False


def _read_authorities(path: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError) as error:
        raise InvalidInput(
            f"The authority {path} cannot be read.", str(error), "Name a PEM file as authority."
        ) from error
