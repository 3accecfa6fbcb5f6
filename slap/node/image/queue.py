"""Download queue of the images that partitions request: each is fetched once, in the background."""

import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from slap.model.errors import NotFound, SlapError
from slap.model.vm.image import FailedImage, FetchingImage, ImageEntry, ImageState, ReadyImage
from slap.node.core.scheduler import delay
from slap.node.image.fetch import Fetcher
from slap.system.clock import Clock

log = logging.getLogger(__name__)

# A server that sends nothing, or little, must not keep the others from being asked, of whichever partition it is.
_EACH, _ALL = 2, 32

Start = Callable[[Callable[[], None]], None]


@dataclass
class _Job:
    """The download of an entry: the partition that requested it first, failures, next try."""

    runs: bool = False
    partition: str = ""
    failures: int = 0
    due: float = 0.0


def start_thread(work: Callable[[], None]) -> None:
    threading.Thread(target=work, name="image", daemon=True).start()


class ImageQueue:
    """Fetches requested images in the background; requests never wait and can be repeated."""

    def __init__(self, fetcher: Fetcher, clock: Clock, start: Start = start_thread) -> None:
        self._fetcher = fetcher
        self._store = fetcher.store
        self._clock = clock
        self._start = start
        self._lock = threading.Lock()
        self._jobs: dict[str, _Job] = {}
        self._wanted: dict[str, frozenset[str]] = {}  # keys of entries by partitions

    def want(self, partition: str, entries: Iterable[ImageEntry]) -> None:
        """Set the images that a partition needs: report those that are here, start fetching the others."""
        asked = tuple(entries)
        self._note(partition, frozenset(entry.key for entry in asked))
        if asked:
            self._store.make()
        here = []
        for entry in asked:
            found = self._store.find(entry)
            if found:
                here.append(found.sha512)
                self._store.tell(entry, self._store.ready(found))
            else:
                self._begin(partition, entry)
        if here:
            self._store.use(partition, here)

    def leave(self, partition: str) -> None:
        """Forget a partition that is empty."""
        self._note(partition, frozenset())
        self._store.forget_uses(partition)

    def _note(self, partition: str, keys: frozenset[str]) -> None:
        with self._lock:
            if self._wanted.get(partition, frozenset()) == keys:
                return
            self._wanted[partition] = keys
            all_keys = frozenset().union(*self._wanted.values())
            self._jobs = {key: job for key, job in self._jobs.items() if job.runs or key in all_keys}

    def _is_wanted(self, entry: ImageEntry) -> bool:
        with self._lock:
            return any(entry.key in keys for keys in self._wanted.values())

    def _begin(self, partition: str, entry: ImageEntry) -> None:
        now = self._clock.monotonic()
        with self._lock:
            job = self._jobs.setdefault(entry.key, _Job())
            if job.runs or job.due > now:
                return
            running = [each.partition for each in self._jobs.values() if each.runs]
            job.runs = len(running) < _ALL and running.count(partition) < _EACH
            job.partition = partition
            begins = job.runs
        if isinstance(self._store.told(entry), ReadyImage | None):  # it was removed, or was never asked for
            self._store.tell(entry, FetchingImage())
        if begins:
            self._start(lambda: self._work(entry, job))

    def _work(self, entry: ImageEntry, job: _Job) -> None:
        """Fetch an entry; only one process of the node does so, others look again when requested."""
        failed = False
        try:
            with self._store.fetching(entry) as mine:
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
        """Fetch an entry; returns whether it is finished. The reason of a failure is reported to partitions."""
        try:
            kept = self._fetcher.fetch(entry, lambda state: self._tell(entry, state))
        except SlapError as error:
            if not self._is_wanted(entry):
                self._fetcher.forget(entry)
                self._store.untell(entry)
                return True
            words = str(error)
            if self._store.told(entry) != FailedImage(message=words):
                log.warning("Image %s cannot be fetched: %s", entry, " ".join(words.split()))
            self._store.tell(entry, FailedImage(message=words))
            return False
        log.info("Image %s is here (%s bytes)", entry, kept.size)
        self._store.tell(entry, self._store.ready(kept))
        return True

    def _tell(self, entry: ImageEntry, state: ImageState) -> None:
        """Report progress to partitions; ends a download that no partition needs any more."""
        if not self._is_wanted(entry):
            raise NotFound(f"Nobody asks for image {entry} any more.")
        self._store.tell(entry, state)
