"""Secrets that are made once and then kept: passwords, and keys with their certificates."""

import ipaddress
import re
import secrets
import string
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from slap.recipes.common.base import RecipeError
from slap.recipes.common.partition import InstancePart, PartReader
from slap.recipes.connection import preferred
from slap.system import files

_CHARACTERS = string.ascii_letters + string.digits
_BACKDATED = timedelta(minutes=5)  # for clocks that are a little behind
_SIGNS = x509.KeyUsage(
    key_cert_sign=True, crl_sign=True, digital_signature=False, content_commitment=False, key_encipherment=False,
    data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
)  # fmt: skip
_HOST_NAME = re.compile(r"(\*\.)?[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*|[0-9A-Fa-f:.]+")


class Password(InstancePart):
    """slap:password. Options: length, characters, bytes, storage-path. Sets `password` and `storage-path`.

    The file stays when the part goes or changes: whatever was protected with it still is.
    """

    guide = "password"

    def read(self, options: PartReader) -> None:
        path = self.path(options, "storage-path", f"etc/.secrets/{self.file_name(options)}")
        length = options.number("length", 24)
        size = options.number("bytes", 0)
        characters = options.text("characters", _CHARACTERS)
        if length < 8 or len(set(characters)) < 10 or 0 < size < 4:
            options.problem(
                "length", "(at least 8), characters (at least 10 different) or bytes (at least 4) is too small"
            )
        options.finish(self.guide)
        password = files.read_or(path, "") or (secrets.token_hex(size) if size else _random(length, characters))
        self.place(path, password)
        self.options["storage-path"] = str(path)
        self.options["password"] = password


def _random(length: int, characters: str) -> str:
    return "".join(secrets.choice(characters) for _ in range(length))


@dataclass(frozen=True)
class Wish:
    """What a certificate shall say."""

    common_name: str
    names: tuple[str, ...]  # host names and addresses that it is good for
    is_authority: bool
    days: int


@dataclass(frozen=True)
class Authority:
    """Who signs."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


class Certificate(InstancePart):
    """slap:certificate. Options: common-name, alternative-names, ca, ca-certificate, ca-key, days, name.

    The key stays when the part goes or changes. The certificate is made anew when it says what is no longer wanted, and
    by any run in the last third of its life.
    """

    guide = "certificate"

    def read(self, options: PartReader) -> None:
        name, context = self.file_name(options), self.context
        addresses = (*context.ipv6, *context.ipv4)
        common_name = options.text("common-name", preferred(context) or context.instance.guid)
        names = (*options.lines("alternative-names"), *addresses)
        self._wish = Wish(common_name[:64], names, options.flag("ca"), options.number("days", 3650))
        _check(self._wish, options)
        self._key = self.folder / f"etc/certificate/{name}.key"
        self._certificate = self.folder / f"etc/certificate/{name}.crt"
        self._authority = _read_authority(options)
        self.options["key"] = str(self._key)
        self.options["certificate"] = str(self._certificate)

    def install(self) -> list[str]:
        if not self._key.exists():
            self.place(self._key, _new_key())
        key = _load_key(self._key)
        authority = _load_authority(*self._authority) if self._authority else None
        present = _load_certificate(self._certificate)
        if present is None or not is_good(present, self._wish, key, authority, datetime.now(UTC)):
            made = issue(self._wish, key, authority, datetime.now(UTC))
            self.place(self._certificate, made.public_bytes(serialization.Encoding.PEM).decode(), 0o644)
        return [str(self._certificate)]


def issue(wish: Wish, key: ec.EllipticCurvePrivateKey, authority: Authority | None, now: datetime) -> x509.Certificate:
    """A certificate as wished, signed by the authority, or by its own key where there is none."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, wish.common_name)])
    signer = authority.key if authority else key
    end = now + timedelta(days=wish.days)
    builder = x509.CertificateBuilder(
        issuer_name=authority.certificate.subject if authority else subject,
        subject_name=subject,
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=now - _BACKDATED,
        not_valid_after=min(end, authority.certificate.not_valid_after_utc) if authority else end,
    )
    for extension, is_critical in _extensions(wish, key, signer):
        builder = builder.add_extension(extension, is_critical)
    return builder.sign(signer, hashes.SHA256())


def _extensions(
    wish: Wish, key: ec.EllipticCurvePrivateKey, signer: ec.EllipticCurvePrivateKey
) -> Iterator[tuple[x509.ExtensionType, bool]]:
    yield x509.BasicConstraints(ca=wish.is_authority, path_length=None), True
    yield x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False
    yield x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), False
    if wish.is_authority:
        yield _SIGNS, True
    if wish.names:
        yield x509.SubjectAlternativeName([_general_name(name) for name in dict.fromkeys(wish.names)]), False


def is_good(
    certificate: x509.Certificate,
    wish: Wish,
    key: ec.EllipticCurvePrivateKey,
    authority: Authority | None,
    now: datetime,
) -> bool:
    """Whether a certificate says what is wished, for this key, by this authority, and has a third of its life left."""
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if _says(certificate) != _says(issue(wish, key, authority, now)):
        return False
    return (
        _is_signed_by(authority.certificate if authority else certificate, certificate)
        and now < end - (end - begin) / 3
    )


def _says(certificate: x509.Certificate) -> tuple[object, ...]:
    """All but the times, the number and the signature."""
    extensions = {extension.oid.dotted_string: extension.value for extension in certificate.extensions}
    return certificate.subject, certificate.issuer, certificate.public_key(), extensions


def _is_signed_by(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def _check(wish: Wish, options: PartReader) -> None:
    for name in wish.names:
        if not _HOST_NAME.fullmatch(name):
            options.problem("alternative-names", f"has {name!r}: write host names and addresses, one a line")
    if not 0 < wish.days <= 36500:
        options.problem("days", f"is {wish.days}: write a number from 1 to 36500")


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _read_authority(options: PartReader) -> tuple[Path, Path] | None:
    certificate, key = options.text("ca-certificate", ""), options.text("ca-key", "")
    if bool(certificate) != bool(key):
        options.problem("ca-certificate", "and ca-key are needed together: who signs")
    return (Path(certificate), Path(key)) if certificate and key else None


def _load_authority(certificate: Path, key: Path) -> Authority:
    found = _load_certificate(certificate)
    if found is None:
        raise _unreadable(certificate)
    return Authority(found, _load_key(key))


def _load_certificate(path: Path) -> x509.Certificate | None:
    """The certificate in a file; None when there is none that can be read."""
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError):
        return None


def _load_key(path: Path) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError) as error:
        raise _unreadable(path) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise _unreadable(path)
    return key


def _new_key() -> str:
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(*form).decode()


def _unreadable(path: Path) -> RecipeError:
    return RecipeError(
        f"{path} cannot be read as what it should be: a certificate, or the key of one.",
        resolution="Let the part with `ca = true` come before those that it signs for.",
    )
