"""A node's side of a cache in a folder: keys, trust, a built folder, and a client."""

import time
from dataclasses import dataclass, replace
from pathlib import Path

from slap.cache.client.chunk_store import ChunkStore
from slap.cache.client.client import CacheClient, FetchResult, install_place
from slap.cache.client.lookup import LookupResult
from slap.cache.client.publish import BuildOutput, PublishResult, publish
from slap.cache.client.settings import Cache, Settings
from slap.cache.trust.cache_key import CacheKey
from slap.cache.trust.keys import SigningKey, generate_key, load_key
from slap.cache.trust.platform import this_platform
from slap.cache.trust.store import TrustedKey, TrustStore

URL = "http://example.com/software.cfg"


@dataclass
class Side:
    """One node: `folder` has all that is its own, the software root is the same for all."""

    folder: Path
    root: Path
    key: SigningKey
    trust: TrustStore

    def client(self, *caches: Cache, upload: Cache | None = None) -> CacheClient:
        return CacheClient(Settings(caches=caches, upload=upload), self.trust, self.chunk_store)

    @property
    def chunk_store(self) -> ChunkStore:
        return ChunkStore(self.folder / "chunks")

    def cache_key(self, url: str = URL, now: float = 0) -> CacheKey:
        return CacheKey(url, str(self.root), this_platform(), now or time.time())

    def build(self, files: dict[str, bytes], url: str = URL) -> Path:
        """A folder as if it had been built."""
        folder = self.root / self.cache_key(url).name
        for name, content in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return folder

    def publish(self, folder: Path, cache: Cache, url: str = URL, now: float = 0) -> PublishResult:
        built = BuildOutput(folder, self.cache_key(url, now), "COMP-1", 1, 2)
        return publish(built, self.key, self.client(upload=cache), self.chunk_store, lambda size: None)

    def fetch(self, found: LookupResult, client: CacheClient, into: Path, url: str = URL) -> FetchResult:
        return client.fetch(found.found[0], install_place(self.cache_key(url)), into, lambda done, total: None)


def a_side(folder: Path, root: Path, trusts: SigningKey | None = None) -> Side:
    folder.mkdir(parents=True)
    root.mkdir(exist_ok=True)
    generate_key(folder / "key", "builder")
    key = load_key(folder / "key")
    trust = TrustStore(folder / "trust.sqlite")
    trust.trust(TrustedKey((trusts or key).public))
    return Side(folder, root, key, trust)


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def later(cache_key: CacheKey, seconds: float) -> CacheKey:
    return replace(cache_key, now=cache_key.now + seconds)
