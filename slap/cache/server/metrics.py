"""What the server did, as a line in its log now and then."""

import logging
from collections import Counter

from slap.cache.server.quota import Quota

log = logging.getLogger(__name__)

EVERY = 60.0


class Metrics:
    """Counts answers by kind, and bytes."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def answered(self, method: str, status: int) -> None:
        self._counts["reads" if method in ("GET", "HEAD") else "writes"] += 1
        if status >= 400:
            self._counts[str(status)] += 1

    def sent(self, size: int) -> None:
        self._counts["sent"] += size

    def line(self, quota: Quota) -> str:
        """What was since the last line; empty for nothing."""
        counts, self._counts = self._counts, Counter()
        words = " ".join(f"{name}={counts[name]}" for name in sorted(counts))
        return f"{words} objects={quota.objects} bytes={quota.used}" if words else ""
