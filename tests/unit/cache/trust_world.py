"""A builder, a node that trusts it, and an entry that the node takes: what tests of trust change one thing of."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slap.cache.trust.cache_key import CacheKey, release_folder
from slap.cache.trust.keys import SigningKey, generate_key, load_key
from slap.cache.trust.sign import sign_entry
from slap.cache.trust.store import TrustedKey, TrustStore
from slap.cache.trust.verify import VerifiedEntry, remember, verify
from slap.model.cache import Blob, Entry, EntryKind, Platform, SignedEntry

URL = "https://example.com/software/redis/software.cfg"
ROOT = "/opt/slapgrid"
NOW = 1_800_000_000
DAY = 86_400
PLATFORM = Platform(
    os="debian", version="12", libc="glibc 2.36", machine="x86_64", python="cpython-311 /usr/bin/python3.11"
)
QUESTION = CacheKey(URL, ROOT, PLATFORM, NOW)


def blob(content: bytes) -> Blob:
    return Blob(sha512=hashlib.sha512(content).hexdigest(), size=len(content))


ENTRY = Entry(
    kind=EntryKind.RELEASE,
    key=URL,
    root=ROOT,
    folder=release_folder(URL),
    platform=PLATFORM,
    manifest=blob(b"manifest"),
    size=1000,
    unpacked_size=4000,
    built_at=NOW - DAY,
    version=NOW - DAY,
    expires_at=NOW + 90 * DAY,
    builder="builder-1",
    sbom=blob(b"sbom"),
    provenance=blob(b"provenance"),
)


def entry(**changes: Any) -> Entry:
    return ENTRY.model_copy(update=changes)


def on(**changes: Any) -> Entry:
    """The entry, built on another platform."""
    return entry(platform=PLATFORM.model_copy(update=changes))


@dataclass
class World:
    """A node's trust, with keys that are made as they are named."""

    folder: Path
    keys: dict[str, SigningKey] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.store = TrustStore(self.folder / "trust.sqlite")

    def key(self, name: str = "builder") -> SigningKey:
        if name not in self.keys:
            generate_key(self.folder / name, name)
            self.keys[name] = load_key(self.folder / name)
        return self.keys[name]

    def trust(self, name: str = "builder", **limits: Any) -> None:
        self.store.trust(TrustedKey(self.key(name).public, **limits))

    def take(self, signed: SignedEntry, cache_key: CacheKey = QUESTION) -> VerifiedEntry:
        """Verify and remember, as a node does."""
        found = verify(signed, self.store, cache_key)
        remember(found, self.store, cache_key)
        return found

    def signed(self, statement: Entry = ENTRY, *names: str) -> SignedEntry:
        return sign_entry(statement, *(self.key(name) for name in names or ("builder",)))
