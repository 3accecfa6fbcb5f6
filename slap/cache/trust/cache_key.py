"""The key of a cache lookup: a release or part, its place, and the platform."""

import hashlib
import json
from dataclasses import dataclass

from slap.model.cache import EntryKind, Platform


@dataclass(frozen=True)
class CacheKey:
    """`key` is the URL of a release or the digest of a part; the build is installed in `folder` below `root`."""

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
        """Digest of all fields but `now`; the trust store records the newest accepted entry under it."""
        words = [self.kind, self.key, self.root, self.name, self.platform.model_dump()]
        return hashlib.sha256(json.dumps(words, sort_keys=True).encode()).hexdigest()


def release_folder(url: str) -> str:
    """Return the folder name of a software release as SlapOS computes it: the MD5 of its URL, not used for security."""
    return hashlib.md5(url.encode(), usedforsecurity=False).hexdigest()
