"""Entries of SlapOS's own caches: RSA over SHA-1, without expiry, version, libc or size.

They are weaker in all that the rules of `verify` rest on, so a key of such a cache counts only after the operator
trusted it as such, key by key; see docs/explanation/cache-trust.md.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from slap.cache.trust.cache_key import Question
from slap.cache.trust.envelope import decoded, malformed
from slap.cache.trust.errors import Reason, Refused
from slap.cache.trust.store import FormerKey
from slap.model.cache import LARGEST_PAYLOAD, Line, Sha512
from slap.model.errors import InvalidInput

_SMALLEST_KEY = 1024  # bits: what SlapOS's caches have been run with
_LARGEST_PEM = 20_000
_CERTIFICATE = "-----BEGIN CERTIFICATE-----"


class FormerEntry(BaseModel):
    """What such an entry says; fields that nobody asks for may be there."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    sha512: Sha512
    software_url: Line
    software_root: Line
    multiarch: Line
    os: Annotated[tuple[Line, ...], Field(min_length=2, max_length=3)]


@dataclass(frozen=True)
class FormerVerified:
    """An entry of a SlapOS cache that may be taken, and whose word that is."""

    entry: FormerEntry
    key: FormerKey


def read_former_key(pem: str, comment: str = "") -> FormerKey:
    """An RSA key from PEM, of a certificate or of a public key. When a certificate expires is not looked at: the
    operator trusts the key."""
    key = _rsa(pem)
    if key is None or key.key_size < _SMALLEST_KEY:
        raise InvalidInput(
            "This is not the key of a SlapOS cache.",
            f"It should be an RSA key of at least {_SMALLEST_KEY} bits, in PEM: a certificate, or a public key.",
            "signature-certificate-list in the section [networkcache] of slapos.cfg has them.",
        )
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return FormerKey(hashlib.sha256(der).hexdigest(), pem.strip(), comment)


def verify_former(text: str, signature: str, keys: Sequence[FormerKey], question: Question) -> FormerVerified:
    """The entry [text, signature] of a SlapOS directory, when one of the keys signed it and it answers the question.

    Raises Refused. Nothing tells here whether it is the newest one.
    """
    if len(text) > LARGEST_PAYLOAD:
        raise Refused(Reason.TOO_LARGE, f"An entry of a SlapOS cache has more than {LARGEST_PAYLOAD} characters.")
    key = _signer(text, signature, keys)
    entry = _read(text)
    for reason, what, found, wanted in _compared(entry, question):
        if found != wanted:
            raise Refused(reason, f"An entry of a SlapOS cache is {what}.", f"It is for {found}; asked was {wanted}.")
    return FormerVerified(entry, key)


def multiarch(machine: str, libc: str) -> str:
    """What `gcc -dumpmachine` says on such a machine, which need not have gcc."""
    system = "linux-gnu" if libc.startswith("glibc") else "linux-musl" if libc.startswith("musl") else libc
    if machine.startswith("armv"):
        return f"arm-{system}eabihf"
    return f"{machine}-{system}"


def _signer(text: str, signature: str, keys: Sequence[FormerKey]) -> FormerKey:
    if not signature:
        raise Refused(Reason.UNSIGNED, "An entry of a SlapOS cache has no signature.")
    if not keys:
        raise Refused(
            Reason.UNKNOWN_KEY, "An entry is signed as SlapOS signs, with RSA and SHA-1, which is not trusted here.",
            "", "If this cache is to be trusted all the same: slapos cache trust --former.",
        )  # fmt: skip
    raw = decoded(signature)
    for key in keys:
        if _verifies(key, raw, text.encode(errors="replace")):
            return key
    raise Refused(
        Reason.BAD_SIGNATURE, "An entry of a SlapOS cache is signed by none of the keys that are trusted for that.",
        "Its signer is another one, or it was changed on the way.",
    )  # fmt: skip


def _verifies(key: FormerKey, signature: bytes, message: bytes) -> bool:
    rsa = _rsa(key.pem)
    if rsa is None:
        return False
    try:
        rsa.verify(signature, message, PKCS1v15(), hashes.SHA1())
    except InvalidSignature:
        return False
    return True


def _rsa(pem: str) -> RSAPublicKey | None:
    if len(pem) > _LARGEST_PEM:
        return None
    data = pem.strip().encode(errors="replace")
    try:
        is_certificate = pem.strip().startswith(_CERTIFICATE)
        key = x509.load_pem_x509_certificate(data).public_key() if is_certificate else load_pem_public_key(data)
    except ValueError:
        return None
    return key if isinstance(key, RSAPublicKey) else None


def _read(text: str) -> FormerEntry:
    try:
        return FormerEntry.model_validate(json.loads(text))
    except (ValidationError, ValueError, RecursionError) as error:
        raise malformed("an entry of a SlapOS cache lacks what tells whom it is for") from error


def _compared(entry: FormerEntry, question: Question) -> list[tuple[Reason, str, str, str]]:
    ours = question.platform
    machine = multiarch(ours.machine, ours.libc)
    theirs_os, our_os = _system(entry.os[0], entry.os[1]), _system(ours.os, ours.version)
    return [
        (Reason.OTHER_KEY, "of another release", entry.software_url, question.key),
        (Reason.OTHER_ROOT, "for another software root", entry.software_root, question.root),
        (Reason.OTHER_MACHINE, "for another architecture", entry.multiarch, machine),
        (Reason.OTHER_OS, "for another operating system", theirs_os, our_os),
    ]


def _system(name: str, version: str) -> str:
    """Of Debian, and of what is Debian by another name, the first number of the version decides."""
    name = name.lower().replace("raspbian", "debian")
    return f"{name} {version.split('.')[0] if name == 'debian' else version}"
