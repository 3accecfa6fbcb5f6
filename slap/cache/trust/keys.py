"""Keys that sign what is in a cache: Ed25519. The private one is a file of its owner's, the public one is a line to paste."""

import binascii
import hashlib
import stat
from base64 import b64decode, b64encode
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from slap.model.cache import KeyId
from slap.model.errors import Conflict, Forbidden, InvalidInput, NotFound
from slap.system import files

KIND = "slap-ed25519"
_SIZE = 32  # bytes of a public key
_MAX_LINE_CHARACTERS = 1000
_MAX_FILE_BYTES = 10_000


@dataclass(frozen=True)
class PublicKey:
    """What others know of a signer; `comment` is for people and is no part of what the key is."""

    raw: bytes
    comment: str = field(default="", compare=False)

    @property
    def id(self) -> KeyId:
        """The SHA-256 of the key. People may be shown the first 16 digits; programs compare all of it."""
        return hashlib.sha256(self.raw).hexdigest()

    @property
    def line(self) -> str:
        """The key as one line to paste: kind, key in base64, comment."""
        return f"{KIND} {b64encode(self.raw).decode()} {self.comment}".rstrip()

    def verifies(self, signature: bytes, message: bytes) -> bool:
        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, message)
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True)
class SigningKey:
    """What signs. It has no words of its own, so that it does not get into logs."""

    public: PublicKey
    _private: Ed25519PrivateKey = field(repr=False)

    def sign(self, message: bytes) -> bytes:
        return self._private.sign(message)


def generate_key(path: Path, comment: str = "") -> PublicKey:
    """Make a key: the private one in a file that only its owner reads, the public line in NAME.pub beside it.

    Raises Conflict when there is a file of either name: nodes trust the key that was there.
    """
    for each in (path, public_file(path)):
        if each.exists():
            raise Conflict(f"{each} exists.", "Another key would end what is signed by that one.", "Name another file.")
    private = Ed25519PrivateKey.generate()
    public = _public_of(private, comment)
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    files.write(path, pem, 0o600)
    files.write(public_file(path), f"{public.line}\n", 0o644)
    return public


def load_key(path: Path) -> SigningKey:
    """A private key from its file; raises NotFound, InvalidInput, or Forbidden when others can read it too."""
    _check_private(path)
    try:
        private = load_pem_private_key(path.read_bytes(), password=None)
    except (ValueError, TypeError) as error:
        raise _not_a_key(path) from error
    if not isinstance(private, Ed25519PrivateKey):
        raise _not_a_key(path)
    return SigningKey(_public_of(private, _load_comment(path)), private)


def parse_public_key(line: str) -> PublicKey:
    """A public key from the line that `PublicKey.line` is; raises InvalidInput for anything else."""
    kind, encoded, comment = [*line.strip().split(None, 2), "", "", ""][:3]
    raw = _decode_base64(encoded)
    if len(line) > _MAX_LINE_CHARACTERS or kind != KIND or len(raw) != _SIZE or not _is_one_line(comment):
        raise InvalidInput(
            "This is not the public key of a cache.",
            f"It should be one line: {KIND}, 44 characters of base64, and perhaps a comment.",
            "slapos cache keygen prints the line, and writes it into the file that ends in .pub.",
        )
    return PublicKey(raw, comment)


def public_file(path: Path) -> Path:
    return path.with_name(f"{path.name}.pub")


def _check_private(path: Path) -> None:
    """What others can read, others may have: such a key signs nothing."""
    try:
        found = path.stat()
    except FileNotFoundError as error:
        raise NotFound(f"There is no key in {path}.", resolution="slapos cache keygen makes one.") from error
    if not stat.S_ISREG(found.st_mode) or found.st_size > _MAX_FILE_BYTES:
        raise _not_a_key(path)
    if found.st_mode & 0o077:
        raise Forbidden(
            f"The key in {path} is open to others.", f"Its mode is {found.st_mode & 0o777:o}.", f"chmod 600 {path}"
        )


def _not_a_key(path: Path) -> InvalidInput:
    return InvalidInput(
        f"{path} has no Ed25519 key.",
        "It should be PEM (PKCS #8) without a password.",
        "slapos cache keygen makes one.",
    )


def _public_of(private: Ed25519PrivateKey, comment: str) -> PublicKey:
    if not _is_one_line(comment):
        raise InvalidInput("The comment of a key is one line of at most 200 characters.")
    return PublicKey(private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw), comment)


def _is_one_line(comment: str) -> bool:
    return len(comment) <= 200 and (comment.isprintable() or not comment)


def _load_comment(path: Path) -> str:
    return " ".join(files.read_or(public_file(path), "").split()[2:])[:200]


def _decode_base64(encoded: str) -> bytes:
    try:
        return b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return b""
