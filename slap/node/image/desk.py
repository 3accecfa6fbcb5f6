"""Images that partitions ask for: each is fetched once, in the background, by whoever of the node comes first."""

import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from slap.model.errors import SlapError
from slap.model.vm.image import FailedImage, FetchingImage, ImageEntry, ReadyImage
from slap.node.backoff import delay
from slap.node.image.fetch import Fetcher
from slap.system import files
from slap.system.clock import Clock

log = logging.getLogger(__name__)

_AT_ONCE = 3  # a server that sends nothing must not keep the others from being asked

Start = Callable[[Callable[[], None]], None]


@dataclass
class _Job:
    """What was tried for an entry: how often it failed, and from when on it is tried again."""

    runs: bool = False
    failures: int = 0
    due: float = 0.0


def start_thread(work: Callable[[], None]) -> None:
    threading.Thread(target=work, name="image", daemon=True).start()


class ImageDesk:
    """Takes what is asked for, again and again, and never waits. It may be killed at any line, and asked again."""

    def __init__(self, fetcher: Fetcher, clock: Clock, start: Start = start_thread) -> None:
        self._fetcher = fetcher
        self._store = fetcher.store
        self._clock = clock
        self._start = start
        self._lock = threading.Lock()
        self._jobs: dict[str, _Job] = {}
        self._slots = threading.BoundedSemaphore(_AT_ONCE)

    def want(self, partition: str, entries: Iterable[ImageEntry]) -> None:
        """A partition needs these. What is here is told at once, what is not is begun."""
        self._store.make()
        here = []
        for entry in entries:
            found = self._store.find(entry)
            if found:
                here.append(found.sha512)
                self._store.tell(entry, self._store.ready(found))
            else:
                self._begin(entry)
        if here:
            self._store.use(partition, here)

    def leave(self, partition: str) -> None:
        """Nothing of a partition is left."""
        self._store.forget_uses(partition)

    def _begin(self, entry: ImageEntry) -> None:
        now = self._clock.monotonic()
        with self._lock:
            job = self._jobs.setdefault(entry.key, _Job())
            if job.runs or job.due > now:
                return
            job.runs = True
        if isinstance(self._store.told(entry), ReadyImage | None):  # it was removed, or was never asked for
            self._store.tell(entry, FetchingImage())
        self._start(lambda: self._work(entry, job))

    def _work(self, entry: ImageEntry, job: _Job) -> None:
        """Of several processes one fetches; the others look again when they are asked again."""
        failed = False
        try:
            with self._slots, files.exclusive(self._store.incoming / f".{entry.key}.lock", wait=False) as mine:
                if mine:
                    failed = not self._fetch(entry)
        except OSError as error:
            log.error("Image %s cannot be fetched: %s", entry, error)
            failed = True
        finally:
            with self._lock:
                job.runs = False
                job.failures = job.failures + 1 if failed else 0
                job.due = self._clock.monotonic() + (delay(job.failures) if failed else 0)

    def _fetch(self, entry: ImageEntry) -> bool:
        """Whether it is here now; what partitions are told says why not."""
        try:
            kept = self._fetcher.fetch(entry, lambda state: self._store.tell(entry, state))
        except SlapError as error:
            words = str(error)
            if self._store.told(entry) != FailedImage(message=words):
                log.warning("Image %s cannot be fetched: %s", entry, " ".join(words.split()))
            self._store.tell(entry, FailedImage(message=words))
            return False
        log.info("Image %s is here (%s bytes)", entry, kept.size)
        self._store.tell(entry, self._store.ready(kept))
        return True
