"""Errors of cache downloads."""

from dataclasses import dataclass

from slap.cache.client.settings import Cache
from slap.model.errors import SlapError


@dataclass(frozen=True)
class CacheFailure:
    """A cache that failed, and why."""

    cache: Cache
    why: str

    def __str__(self) -> str:
        return f"{self.cache.name}: {self.why}"


class DownloadFailed(SlapError):
    """No cache delivered the blobs of an entry; the node then builds from source."""

    kind = "not-fetched"
    http_status = 503

    def __init__(self, brief: str, troubles: tuple[CacheFailure, ...]) -> None:
        super().__init__(brief, "\n".join(map(str, troubles)))
        self.troubles = troubles
