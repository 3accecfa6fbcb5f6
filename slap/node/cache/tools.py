"""The cache client, trust database, signing key and settings of a node."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from slap.cache.client.errors import CacheFailure
from slap.cache.client.settings import Cache, Settings
from slap.cache.trust.cache_key import CacheKey
from slap.cache.trust.platform import this_platform
from slap.model.cache import EntryKind
from slap.model.errors import NotFound, SlapError
from slap.node.cache.upload_queue import CacheStore
from slap.node.core.config import NodeConfig
from slap.system.clock import Clock
from slap.system.lazy_import import Later

if TYPE_CHECKING:
    from slap.cache.client import chunk_store as chunk_store_module
    from slap.cache.client import client as cache_client
    from slap.cache.trust import keys
    from slap.cache.trust import store as trust_store
else:  # a node without caches has no use for them
    cache_client, chunk_store_module = Later("slap.cache.client.client"), Later("slap.cache.client.chunk_store")
    keys, trust_store = Later("slap.cache.trust.keys"), Later("slap.cache.trust.store")


@dataclass
class CacheTools:
    """Opens each part at first use: a node without caches opens none."""

    config: NodeConfig
    clock: Clock

    @cached_property
    def settings(self) -> Settings:
        return self.config.cache

    @cached_property
    def store(self) -> CacheStore:
        return CacheStore(self.config.cache_file)

    @cached_property
    def trust(self) -> "trust_store.TrustStore":
        return trust_store.TrustStore(self.config.trust_file)

    @cached_property
    def chunk_store(self) -> "chunk_store_module.ChunkStore":
        return chunk_store_module.ChunkStore(self.config.chunks)

    @cached_property
    def client(self) -> "cache_client.CacheClient":
        return cache_client.CacheClient(self.settings, self.trust, self.chunk_store)

    @property
    def now(self) -> float:
        return self.clock.now().timestamp()

    def cache_key(self, url: str) -> CacheKey:
        return CacheKey(url, str(self.config.software_root), this_platform(), self.now)

    def part_question(self, name: str, digest: str) -> CacheKey:
        """The cache key of a shared part, by its name and digest."""
        root = str(self.config.shared_parts / name)
        return CacheKey(f"{name}/{digest}", root, this_platform(), self.now, EntryKind.PART, digest)

    def signing_key(self) -> "keys.SigningKey":
        """The signing key; raises SlapError when this node has none, or one that may not be used."""
        if self.settings.key_file is None:
            raise NotFound("This node has no key to sign builds with.", resolution="slapos cache keygen makes one.")
        return keys.load_key(self.settings.key_file)

    def can_publish(self) -> bool:
        """Whether this node uploads its builds; whether the key is usable shows at the upload."""
        return bool(self.settings.upload and self.settings.key_file and self.settings.key_file.exists())

    def bad_caches(self) -> set[Cache]:
        bad = {each.cache for each in self.store.bad(self.now)}
        return {cache for cache in self.settings.caches if cache.name in bad}

    def leave_alone(self, troubles: tuple[CacheFailure, ...]) -> None:
        """Record caches that failed, to skip them for a while; failing to record costs seconds only."""
        for trouble in troubles:
            self.store.mark_bad(trouble.cache.name, trouble.why, self.now)

    def close(self) -> None:
        for name in ("store", "trust"):
            if name in self.__dict__:
                self.__dict__[name].close()


def in_words(error: SlapError | OSError) -> str:
    """An error on one line, with what explains it."""
    if isinstance(error, OSError):
        return str(error)
    return " ".join(f"{error.brief} {error.details}".split())


def with_next(error: SlapError | OSError) -> str:
    """An error on one line, with what to do next."""
    return f"{in_words(error)} {error.resolution}".strip() if isinstance(error, SlapError) else in_words(error)
