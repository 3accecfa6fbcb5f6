"""What can be wrong with a cache, as opposed to what it has not."""

from dataclasses import dataclass

from slap.cache.client.settings import Cache
from slap.model.errors import SlapError


@dataclass(frozen=True)
class CacheFailure:
    """A cache that was of no use, and why."""

    cache: Cache
    why: str

    def __str__(self) -> str:
        return f"{self.cache.name}: {self.why}"


class DownloadFailed(SlapError):
    """None of the caches could give what an entry promises: the node builds it from source."""

    kind = "not-fetched"
    http_status = 503

    def __init__(self, brief: str, troubles: tuple[CacheFailure, ...]) -> None:
        super().__init__(brief, "\n".join(map(str, troubles)))
        self.troubles = troubles
