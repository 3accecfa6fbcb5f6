"""What a node asks a cache: one thing, for one place, on one kind of machine, now."""

import hashlib
import json
from dataclasses import dataclass

from slap.model.cache import EntryKind, Platform


@dataclass(frozen=True)
class CacheKey:
    """`key` is the URL of a release, or the digest of a part; the answer will be in `folder` below `root`."""

    key: str
    root: str
    platform: Platform
    now: float  # seconds since the epoch
    kind: EntryKind = EntryKind.RELEASE
    folder: str = ""  # empty: the one that a release of this URL is always in

    @property
    def name(self) -> str:
        """The name of the folder."""
        return self.folder or release_folder(self.key)

    @property
    def id(self) -> str:
        """The same for the same question at any time: under this, a node remembers what it was answered."""
        words = [self.kind, self.key, self.root, self.name, self.platform.model_dump()]
        return hashlib.sha256(json.dumps(words, sort_keys=True).encode()).hexdigest()


def release_folder(url: str) -> str:
    """The folder of a software release, as SlapOS names it. Here MD5 makes a name, and no promise."""
    return hashlib.md5(url.encode(), usedforsecurity=False).hexdigest()
