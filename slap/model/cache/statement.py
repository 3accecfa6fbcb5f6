"""What travels between nodes and a shacache: signed statements of who built what, for which machines, and of what bytes."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StringConstraints

from slap.model.base import Frozen

# A line that people read: of a size that a terminal and a database bear, without control characters.
Line = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]*$", max_length=1000)]
Sha512 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{128}$")]
# The SHA-256 of a public key in hexadecimal digits.
KeyId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
# The name of one folder: no way out of the one that it is in.
FolderName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.+@-]{0,199}$")]
AbsolutePath = Annotated[str, StringConstraints(pattern=r"^/[^\x00-\x1f\x7f]*$", max_length=1000)]
Size = Annotated[int, Field(ge=0, lt=1 << 53)]
Seconds = Annotated[int, Field(ge=0, lt=253_402_300_800)]  # since the epoch, to the end of the year 9999

# What DSSE calls payloadType: what a signed payload is, so that one kind of statement never passes for another.
ENTRY_TYPE = "application/vnd.slap.cache.entry.v1+json"
REVOCATION_TYPE = "application/vnd.slap.cache.revocation.v1+json"
SUCCESSION_TYPE = "application/vnd.slap.cache.succession.v1+json"

# More than any honest statement has, in bytes; whoever reads one stops there.
LARGEST_PAYLOAD = 16_384
LARGEST_ENVELOPE = 32_768
MOST_SIGNATURES = 8
# Blobs of one request: their names make 4 KiB, which every proxy between lets through.
MOST_AT_ONCE = 32


class EntryKind(StrEnum):
    """What an entry is of: a whole software release, one part that several may share, or the image of a machine's disk."""

    RELEASE = "release"
    PART = "part"
    IMAGE = "image"


class Platform(Frozen):
    """A kind of machine. What was built on one runs on those that are equal to it in every field."""

    os: Line  # as in "debian"
    version: Line  # of the operating system, as far as it decides about what runs: "12"
    libc: Line  # name and version: "glibc 2.36"
    machine: Line  # "x86_64"
    python: Line  # kind of the Python that builds embed, and where it is: "cpython-311 /usr/bin/python3.11"

    def __str__(self) -> str:
        return ", ".join(filter(None, self.pieces))

    @property
    def pieces(self) -> tuple[str, str, str, str]:
        """In words; some are empty where they do not count."""
        return f"{self.os} {self.version}".strip(), self.machine, self.libc, self.python


class Blob(Frozen):
    """Bytes in the cache. Who fetches them stops after `size`, and takes nothing that is not of this digest."""

    sha512: Sha512
    size: Size


class Entry(Frozen):
    """The statement that a builder signs: for this question, on such machines, the answer is these bytes.

    `key` is the URL of a software release, or the digest by which a part is known. Built files name the folder that
    they are for, `folder` below `root`, so they are for that place alone. `size` is of all chunks as they travel.
    """

    format: Literal[1] = 1
    kind: EntryKind
    key: Annotated[Line, Field(min_length=1)]
    root: AbsolutePath
    folder: FolderName
    platform: Platform
    manifest: Blob
    size: Size
    unpacked_size: Size
    built_at: Seconds
    version: Seconds  # when it was signed: of two statements of one builder the higher one counts
    expires_at: Seconds
    builder: Line  # who or what built it, in the builder's own words
    sbom: Blob | None = None
    provenance: Blob | None = None


class Revocation(Frozen):
    """A key says of itself that it is not to be trusted any more."""

    format: Literal[1] = 1
    key: KeyId
    at: Seconds
    reason: Line = ""


class Succession(Frozen):
    """A key says which one (as one pastes it: see `slap.cache.trust.keys`) takes its place from a moment on."""

    format: Literal[1] = 1
    key: KeyId
    successor: Line
    at: Seconds


class Signature(Frozen):
    """A signature in base64, and the id of the key that made it."""

    keyid: KeyId
    sig: Annotated[str, Field(max_length=200)]


class SignedEntry(Frozen):
    """A DSSE envelope, as JSON {payload, payloadType, signatures}; `payload` is in base64.

    It carries an Entry; the other statements travel in the same envelope, with another type.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", defer_build=True, validate_by_name=True, serialize_by_alias=True
    )

    payload: Annotated[str, Field(max_length=LARGEST_PAYLOAD * 4 // 3 + 4)]
    payload_type: Annotated[str, Field(alias="payloadType", max_length=200)]
    signatures: Annotated[tuple[Signature, ...], Field(max_length=MOST_SIGNATURES)]
