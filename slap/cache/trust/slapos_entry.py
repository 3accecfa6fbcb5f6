"""Verify entries of SlapOS caches, which are signed with RSA and SHA-1 and have no expiry, version, libc or size.

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

from slap.cache.trust.cache_key import CacheKey
from slap.cache.trust.envelope import decode_base64, malformed_statement
from slap.cache.trust.errors import RejectedStatement, RejectionReason
from slap.cache.trust.store import SlaposKey
from slap.model.cache import LARGEST_PAYLOAD, Line, Sha512
from slap.model.errors import InvalidInput

_MIN_KEY_BITS = 1024  # bits: what SlapOS's caches have been run with
_MAX_PEM_CHARACTERS = 20_000
_CERTIFICATE = "-----BEGIN CERTIFICATE-----"


class SlaposEntry(BaseModel):
    """The fields of an entry that are checked; others are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    sha512: Sha512
    software_url: Line
    software_root: Line
    multiarch: Line
    os: Annotated[tuple[Line, ...], Field(min_length=2, max_length=3)]


@dataclass(frozen=True)
class VerifiedSlaposEntry:
    """An entry of a SlapOS cache that passed verification, and the key that signed it."""

    entry: SlaposEntry
    key: SlaposKey


def parse_slapos_key(pem: str, comment: str = "") -> SlaposKey:
    """An RSA key from PEM, of a certificate or of a public key. When a certificate expires is not looked at: the
    operator trusts the key."""
    key = _parse_rsa_key(pem)
    if key is None or key.key_size < _MIN_KEY_BITS:
        raise InvalidInput(
            "This is not the key of a SlapOS cache.",
            f"It should be an RSA key of at least {_MIN_KEY_BITS} bits, in PEM: a certificate, or a public key.",
            "signature-certificate-list in the section [networkcache] of slapos.cfg has them.",
        )
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return SlaposKey(hashlib.sha256(der).hexdigest(), pem.strip(), comment)


def verify_slapos_entry(
    text: str, signature: str, keys: Sequence[SlaposKey], cache_key: CacheKey
) -> VerifiedSlaposEntry:
    """The entry [text, signature] of a SlapOS directory, when one of the keys signed it and it answers the question.

    Raises RejectedStatement. Nothing tells here whether it is the newest one.
    """
    if len(text) > LARGEST_PAYLOAD:
        raise RejectedStatement(
            RejectionReason.TOO_LARGE, f"An entry of a SlapOS cache has more than {LARGEST_PAYLOAD} characters."
        )
    key = _find_signer(text, signature, keys)
    entry = _parse_entry(text)
    for reason, what, found, wanted in _comparisons(entry, cache_key):
        if found != wanted:
            raise RejectedStatement(
                reason, f"An entry of a SlapOS cache is {what}.", f"It is for {found}; asked was {wanted}."
            )
    return VerifiedSlaposEntry(entry, key)


def multiarch(machine: str, libc: str) -> str:
    """What `gcc -dumpmachine` says on such a machine, which need not have gcc."""
    system = "linux-gnu" if libc.startswith("glibc") else "linux-musl" if libc.startswith("musl") else libc
    if machine.startswith("armv"):
        return f"arm-{system}eabihf"
    return f"{machine}-{system}"


def _find_signer(text: str, signature: str, keys: Sequence[SlaposKey]) -> SlaposKey:
    if not signature:
        raise RejectedStatement(RejectionReason.UNSIGNED, "An entry of a SlapOS cache has no signature.")
    if not keys:
        raise RejectedStatement(
            RejectionReason.UNKNOWN_KEY, "An entry is signed as SlapOS signs, with RSA and SHA-1, which is not trusted here.",
            "", "If this cache is to be trusted all the same: slapos cache trust --former.",
        )  # fmt: skip
    raw = decode_base64(signature)
    for key in keys:
        if _verifies(key, raw, text.encode(errors="replace")):
            return key
    raise RejectedStatement(
        RejectionReason.BAD_SIGNATURE, "An entry of a SlapOS cache is signed by none of the keys that are trusted for that.",
        "Its signer is another one, or it was changed on the way.",
    )  # fmt: skip


def _verifies(key: SlaposKey, signature: bytes, message: bytes) -> bool:
    rsa = _parse_rsa_key(key.pem)
    if rsa is None:
        return False
    try:
        rsa.verify(signature, message, PKCS1v15(), hashes.SHA1())
    except InvalidSignature:
        return False
    return True


def _parse_rsa_key(pem: str) -> RSAPublicKey | None:
    if len(pem) > _MAX_PEM_CHARACTERS:
        return None
    data = pem.strip().encode(errors="replace")
    try:
        is_certificate = pem.strip().startswith(_CERTIFICATE)
        key = x509.load_pem_x509_certificate(data).public_key() if is_certificate else load_pem_public_key(data)
    except ValueError:
        return None
    return key if isinstance(key, RSAPublicKey) else None


def _parse_entry(text: str) -> SlaposEntry:
    try:
        return SlaposEntry.model_validate(json.loads(text))
    except (ValidationError, ValueError, RecursionError) as error:
        raise malformed_statement("an entry of a SlapOS cache lacks what tells whom it is for") from error


def _comparisons(entry: SlaposEntry, cache_key: CacheKey) -> list[tuple[RejectionReason, str, str, str]]:
    ours = cache_key.platform
    machine = multiarch(ours.machine, ours.libc)
    theirs_os, our_os = _normalize_os(entry.os[0], entry.os[1]), _normalize_os(ours.os, ours.version)
    return [
        (RejectionReason.OTHER_KEY, "of another release", entry.software_url, cache_key.key),
        (RejectionReason.OTHER_ROOT, "for another software root", entry.software_root, cache_key.root),
        (RejectionReason.OTHER_MACHINE, "for another architecture", entry.multiarch, machine),
        (RejectionReason.OTHER_OS, "for another operating system", theirs_os, our_os),
    ]


def _normalize_os(name: str, version: str) -> str:
    """Of Debian, and of what is Debian by another name, the first number of the version decides."""
    name = name.lower().replace("raspbian", "debian")
    return f"{name} {version.split('.')[0] if name == 'debian' else version}"
