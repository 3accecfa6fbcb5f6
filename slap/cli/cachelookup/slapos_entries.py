"""What a shadir answers: signed entries, each of which says which blob answers a key. Nothing here asks anybody."""

import base64
import binascii
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import md5
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.x509 import Certificate, load_pem_x509_certificates
from pydantic import TypeAdapter, ValidationError

from slap.model.errors import InvalidInput, Unreachable
from slap.model.software import software_id

_ANSWER = TypeAdapter(list[tuple[str, str]])
_CONTENT = TypeAdapter(dict[str, Any])
_MD5 = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Machine:
    """What a binary has to fit: the architecture, and the distribution as (name, version, code name)."""

    multiarch: str
    distribution: tuple[str, str, str]

    def fits(self, other: "Machine") -> bool:
        return self.multiarch == other.multiarch and self._comparable == other._comparable

    @property
    def _comparable(self) -> tuple[str, str, str]:
        """Releases of Debian differ by their first number alone, and Raspbian is one of its names."""
        name, version, codename = self.distribution
        if name.lower() not in ("debian", "raspbian"):
            return name.lower(), version, codename
        return "debian", version.partition(".")[0], ""


@dataclass(frozen=True)
class Entry:
    """An entry and who signed it: empty when it was nobody that we trust."""

    content: Mapping[str, Any]
    signer: str

    @property
    def machine(self) -> Machine:
        name, version, codename = (*map(str, self._list("os")), "", "", "")[:3]
        return Machine(self.text("multiarch"), (name, version, codename))

    def text(self, name: str) -> str:
        value = self.content.get(name, "")
        return value if isinstance(value, str) else str(value)

    def _list(self, name: str) -> Sequence[Any]:
        value = self.content.get(name)
        return value if isinstance(value, list) else ()


def release_key(text: str) -> str:
    """The key of a release: the MD5 of its URL, which may also be given itself."""
    return text if _MD5.fullmatch(text) else software_id(text)


def url_key(url: str) -> str:
    """The key of a file that was downloaded from somewhere."""
    return "file-urlmd5:" + md5(url.encode(), usedforsecurity=False).hexdigest()


def package_key(name: str, version: str) -> str:
    return f"pypi:{name}={version}"


def parse_entries(text: str, trusted: Sequence[Certificate]) -> list[Entry]:
    """The entries of an answer, each with its signer; one whose content is nothing that we know is left out."""
    try:
        pairs = _ANSWER.validate_json(text)
    except ValidationError as error:
        raise Unreachable("The cache answered with something else than entries.", text[:200]) from error
    found = []
    for content, signature in pairs:
        try:
            found.append(Entry(_CONTENT.validate_json(content), signer(content, signature, trusted)))
        except ValidationError:
            continue
    return found


def signer(content: str, signature: str, trusted: Iterable[Certificate]) -> str:
    """The name in the certificate that a signature is by; empty when it is by none of them."""
    try:
        signed = base64.b64decode(signature, validate=True)
    except binascii.Error:
        return ""
    return next((_name(each) for each in trusted if _is_by(each, signed, content.encode())), "")


def load_certificates(text: str) -> list[Certificate]:
    """The certificates of those whom we trust to sign; raises InvalidInput."""
    if not text.strip():
        return []
    try:
        return load_pem_x509_certificates(text.encode())
    except ValueError as error:
        raise InvalidInput("signature-certificate-list holds no certificates.", str(error), "Mend it.") from error


def _is_by(certificate: Certificate, signature: bytes, content: bytes) -> bool:
    """SlapOS signs by RSA over SHA-1, and nothing else. That is shown, and not relied on."""
    key = certificate.public_key()
    if not isinstance(key, RSAPublicKey):
        return False
    try:
        key.verify(signature, content, PKCS1v15(), SHA1())
    except InvalidSignature:
        return False
    return True


def _name(certificate: Certificate) -> str:
    return certificate.subject.rfc4514_string() or f"certificate {certificate.serial_number}"
