"""The master's own certificate authority: it signs certificates of users, computers and partitions, and its own server's.

It is made on first use and kept in the database, as the secret of partitions is: every process that serves the database
has the same one, and a backup of the database has it too.
"""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from sqlalchemy import Connection, select, text

from slap.master.access.csr import PublicKey
from slap.master.database.store import Store, Transaction
from slap.master.database.tables import setting
from slap.master.database.text import from_json, to_json
from slap.model.errors import InvalidInput

AUTHORITY = "certificate-authority"  # the name of the setting
_ROOT_LIFETIME = timedelta(days=20 * 365)
_LIST_LIFETIME = timedelta(days=1)
# Clocks of nodes may be a little behind; but the life of a certificate is what was asked for, or nearly.
_SLACK = timedelta(minutes=10)
_SLACK_SHARE = 0.1
_LONGEST_COMMON_NAME = 64
_HOST_NAME = re.compile(
    r"(?=.{1,253}$)(\*\.)?[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*"
)


@dataclass(frozen=True)
class CertificateAuthority:
    """The authority's certificate and key, both in PEM."""

    certificate: str
    key: str = field(repr=False)

    @cached_property
    def fingerprint(self) -> str:
        return self._root.fingerprint(hashes.SHA256()).hex()

    def sign_client(self, subject: x509.Name, name: str, key: PublicKey, lifetime: float) -> x509.Certificate:
        """A certificate by which somebody calls; `name` is the URI of who that is."""
        names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(name)])
        return self._sign(subject, names, ExtendedKeyUsageOID.CLIENT_AUTH, key, lifetime)

    def sign_server(self, hosts: Iterable[str], key: PublicKey, lifetime: float) -> x509.Certificate:
        """A certificate for a server that is reached by these names and addresses; raises InvalidInput for bad ones."""
        names = x509.SubjectAlternativeName([_host(host) for host in hosts])
        return self._sign(_common_name("slap master"), names, ExtendedKeyUsageOID.SERVER_AUTH, key, lifetime)

    def sign_revocations(self, revoked: Iterable[tuple[int, datetime]]) -> str:
        """A list, in PEM, of revoked serials and since when; it is good for a day."""
        made_at = datetime.now(UTC).replace(microsecond=0)
        entries = [
            x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(at).build() for serial, at in revoked
        ]
        values: tuple[x509.ExtensionType, ...] = (
            x509.AuthorityKeyIdentifier.from_issuer_public_key(self._root_key.public_key()),
            x509.CRLNumber(int(made_at.timestamp())),
        )
        extensions = [x509.Extension(value.oid, False, value) for value in values]
        # All entries at once: the builder copies its list for each one that is added.
        builder = x509.CertificateRevocationListBuilder(
            self._root.subject, made_at, made_at + _LIST_LIFETIME, extensions, entries
        )
        return in_pem(builder.sign(self._root_key, hashes.SHA256()))

    @cached_property
    def _root(self) -> x509.Certificate:
        return x509.load_pem_x509_certificate(self.certificate.encode())

    @cached_property
    def _root_key(self) -> ec.EllipticCurvePrivateKey:
        key = serialization.load_pem_private_key(self.key.encode(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        return key

    def _sign(
        self,
        subject: x509.Name,
        names: x509.SubjectAlternativeName,
        usage: x509.ObjectIdentifier,
        key: PublicKey,
        lifetime: float,
    ) -> x509.Certificate:
        end = min(datetime.now(UTC) + timedelta(seconds=lifetime), self._root.not_valid_after_utc)
        return (
            _builder(subject, self._root.subject, key, end)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(digital_signature=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(names, critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._root_key.public_key()), critical=False
            )
            .sign(self._root_key, hashes.SHA256())
        )


class Authorities:
    """The one authority of a database, made on first use."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: CertificateAuthority | None = None

    async def get(self) -> CertificateAuthority:
        if self._known is None:
            self._known = await self._store.write(authority_of)
        return self._known


def authority_of(transaction: Transaction) -> CertificateAuthority:
    """The authority in the database; of several that are made at the same moment the first that is stored counts."""
    connection = transaction.connection
    return _stored(connection) or _keep(connection, new_authority())


def new_authority() -> CertificateAuthority:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _common_name(f"slap authority {x509.random_serial_number():040x}"[:48])
    certificate = (
        _builder(subject, subject, key.public_key(), datetime.now(UTC) + _ROOT_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    return CertificateAuthority(in_pem(certificate), key_in_pem(key))


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def in_pem(document: x509.Certificate | x509.CertificateRevocationList) -> str:
    return document.public_bytes(serialization.Encoding.PEM).decode()


def key_in_pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def common_name(kind: str, subject: str) -> x509.Name:
    """How a certificate names its holder, for people who look at it: the master knows certificates by their serials."""
    attributes = [
        x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, kind),
        x509.NameAttribute(NameOID.COMMON_NAME, subject[:_LONGEST_COMMON_NAME]),
    ]
    return x509.Name(attributes)


def _common_name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _builder(subject: x509.Name, issuer: x509.Name, key: PublicKey, end: datetime) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    begin = now - min(_SLACK, (end - now) * _SLACK_SHARE)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _key_usage(digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host.partition("%")[0]))
    except ValueError:
        pass
    if not _HOST_NAME.fullmatch(host.lower()):
        raise InvalidInput(
            f"{host!r} is neither a host's name nor an address.",
            "The master's certificate is to carry it.",
            "Correct the names in the section [master].",
        )
    return x509.DNSName(host.lower())


def _stored(connection: Connection) -> CertificateAuthority | None:
    words = connection.execute(select(setting.c.value).where(setting.c.name == AUTHORITY)).scalar()
    return CertificateAuthority(**from_json(words)) if words else None


def _keep(connection: Connection, made: CertificateAuthority) -> CertificateAuthority:
    document = to_json({"certificate": made.certificate, "key": made.key})
    connection.execute(_KEEP_FIRST, {"name": AUTHORITY, "value": document})
    stored = _stored(connection)
    assert stored is not None
    return stored


_KEEP_FIRST = text("INSERT INTO setting (name, value) VALUES (:name, :value) ON CONFLICT (name) DO NOTHING")
