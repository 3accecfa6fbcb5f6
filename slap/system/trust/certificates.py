"""Keys, requests for certificates, and what certificates say, for those who hold them.

The library is large: it is loaded when a certificate is at hand.
"""

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from slap.model.errors import Forbidden, InvalidInput
from slap.system.lazy_import import Later

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
else:
    x509, hashes = Later("cryptography.x509"), Later("cryptography.hazmat.primitives.hashes")
    serialization = Later("cryptography.hazmat.primitives.serialization")
    ec = Later("cryptography.hazmat.primitives.asymmetric.ec")
    ed25519 = Later("cryptography.hazmat.primitives.asymmetric.ed25519")
    rsa = Later("cryptography.hazmat.primitives.asymmetric.rsa")


@dataclass(frozen=True)
class KeyAndRequest:
    """A private key that stays here, and the request for its certificate, both in PEM."""

    key: str = field(repr=False)
    request: str


@dataclass(frozen=True)
class Validity:
    """From when to when a certificate is good."""

    begin: datetime
    end: datetime

    def is_due(self, now: datetime) -> bool:
        """Whether it is time to renew: after two thirds, so that a master that is away for long is no harm."""
        return self.until_due(now) <= 0

    def until_due(self, now: datetime) -> float:
        """Seconds until then."""
        return (self.begin + (self.end - self.begin) * 2 / 3 - now).total_seconds()


def new_key_and_request(name: str) -> KeyAndRequest:
    return _request(ec.generate_private_key(ec.SECP256R1()), name)


def validity(path: Path) -> Validity:
    """Of the certificate in a PEM file; raises InvalidInput when there is none."""
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else "It holds no certificate in PEM."
        raise InvalidInput(f"The certificate {path} cannot be read.", why, "Check the path and its rights.") from error
    return Validity(certificate.not_valid_before_utc, certificate.not_valid_after_utc)


def request_for(key_file: Path, name: str) -> KeyAndRequest:
    """A request for another certificate of the key in a file."""
    try:
        key = serialization.load_pem_private_key(key_file.read_bytes(), None)
    except (OSError, ValueError, TypeError) as error:
        raise InvalidInput(
            f"The key {key_file} cannot be read.", str(error), "Check the path and its rights."
        ) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey):
        raise InvalidInput(f"The key {key_file} is of a kind that signs nothing.", "", "Register anew.")
    return _request(key, name)


def proven(certificate: str, fingerprint: str) -> str:
    """The certificate in PEM that has this SHA-256, and nothing that came with it; raises Forbidden for another one."""
    try:
        found = x509.load_pem_x509_certificate(certificate.encode())
    except ValueError as error:
        raise InvalidInput("The master's authority is not a certificate.", str(error)) from error
    if found.fingerprint(hashes.SHA256()).hex() != fingerprint:
        raise Forbidden(
            "This is not the master that the token is of: its authority is another one.",
            f"The token says {fingerprint}, the server {found.fingerprint(hashes.SHA256()).hex()}.",
            "Check the URL. Who answers there may be an impostor; the token was not sent.",
        )
    return found.public_bytes(serialization.Encoding.PEM).decode()


def _request(
    key: "ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey", name: str
) -> KeyAndRequest:
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name[:64] or "slap")])
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, algorithm)
    words = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return KeyAndRequest(words.decode(), request.public_bytes(serialization.Encoding.PEM).decode())
