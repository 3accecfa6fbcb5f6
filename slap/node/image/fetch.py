"""Fetch one image: from a cache by name, or from a URL by digest, validated before it is stored."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path

from slap.model.cache.material import plain_url
from slap.model.errors import InvalidInput, SlapError, StorageFull, Unreachable
from slap.model.vm.image import FetchingImage, ImageEntry, ImageState
from slap.model.vm.kept import KeptImage, Origin
from slap.node.cache.tools import CacheTools
from slap.node.image import cache
from slap.node.image.store import ImageStore
from slap.node.image.validate import judge
from slap.system import files
from slap.system.archive import BrokenArchive
from slap.system.disk.gunzip import gunzip
from slap.system.disk.qemu_img import QemuImg
from slap.system.fetch import Download, Sessions, Telling, WrongDigest, digest_of, fetch_watched, open_anywhere
from slap.system.process import Runner

MOST_BYTES = 256 << 30
_RESERVE = 64 << 20  # bytes of the disk that are left to everybody else
_QUIET = 0.3  # seconds between two words on how far it is

Tell = Callable[[ImageState], None]
Progress = Callable[[int, int], None]


class Fetcher:
    """Fetches images in the thread that calls it."""

    def __init__(
        self, store: ImageStore, tools: CacheTools, runner: Runner, sessions: Sessions = open_anywhere
    ) -> None:
        self.store = store
        self._tools = tools
        self._sessions = sessions
        self._qemu = QemuImg(runner)

    def fetch(self, entry: ImageEntry, tell: Tell) -> KeptImage:
        """The image, fetched unless it is stored. On SlapError a partial download stays, to be continued."""
        found = self.store.find(entry)
        if found:
            return found
        progress = _Progress(self.store, tell)
        try:
            return self._from_cache(entry.name, progress) if entry.name else self._from_url(entry, progress)
        except OSError as error:
            raise StorageFull(f"Image {entry} cannot be kept.", f"{error.strerror or error}.", _MAKE_ROOM) from error

    def take(self, file: Path, origin: Origin, source: str = "") -> KeptImage:
        """Store a file that is in the store's own folder, after validating it."""
        kind, virtual_size = judge(file, self._qemu)
        record = KeptImage(
            sha512=digest_of(file, "sha512"), format=kind, virtual_size=virtual_size, size=file.stat().st_size,
            at=int(time.time()), origin=origin, source=source,
        )  # fmt: skip
        kept = self.store.record(record.sha512)
        if kept:
            file.unlink()
            return self.store.adopt(kept.sha512, origin) if origin.is_own else kept
        self.store.keep(file, record)
        return record

    def add(self, file: Path, name: str, origin: Origin) -> KeptImage:
        """Store a copy of a file under a name; another image of that name loses it."""
        if not file.is_file():
            raise InvalidInput(f"{file} is not a file.", resolution="Check the path.")
        check_room(self.store, file.stat().st_size)
        with self.store.aside() as folder:
            copy = folder / "disk"
            shutil.copyfile(file, copy)
            kept = self.take(copy, origin, file.name)
        self.store.name(name, kept.sha512)
        return kept

    def _from_cache(self, name: str, progress: Progress) -> KeptImage:
        """Download from a cache. Chunks are kept in the node's chunk store, so an interrupted one continues."""
        with self.store.aside() as folder:
            brought = cache.fetch_image(name, self._tools, folder / "image", progress)
            kept = self.take(brought.disk, Origin.CACHE, f"signed by {brought.signed_by[:16]}")
        self.store.name(name, kept.sha512)
        return kept

    def _from_url(self, entry: ImageEntry, progress: Progress) -> KeptImage:
        algorithm = "sha512" if entry.sha512 else "md5"
        download = Download(entry.url, entry.digest, MOST_BYTES, algorithm=algorithm, sessions=self._sessions)
        try:
            arrived = fetch_watched(download, self.store.arriving(entry), Telling(watch=progress))
            kept = self._take_unzipped(arrived, entry) if entry.gzipped else self._take_as_it_is(arrived, entry)
        except Unreachable:  # what arrived is gone on with
            raise
        except WrongDigest as error:  # what it is instead is not told: by its digest it could be asked for
            self.forget(entry)
            raise WrongDigest(f"Image {entry} is not what was asked for.", expected(entry), _CORRECT) from error
        except (OSError, SlapError):  # whatever needs the room now, half an image is of no use to anybody
            self.forget(entry)
            raise
        self.store.note_download(entry.digest, kept.sha512)
        self.forget(entry)
        return kept

    def forget(self, entry: ImageEntry) -> None:
        """Delete the partial download of an entry."""
        files.remove_tree(self.store.arriving(entry))

    def _take_as_it_is(self, arrived: Path, entry: ImageEntry) -> KeptImage:
        return self.take(arrived, Origin.URL, plain_url(entry.url))

    def _take_unzipped(self, arrived: Path, entry: ImageEntry) -> KeptImage:
        with self.store.aside() as folder:
            disk = folder / "disk"
            try:
                gunzip(arrived, disk, MOST_BYTES, lambda done: check_room(self.store, 0))
            except BrokenArchive as error:
                raise BrokenArchive(f"Image {entry} cannot be unzipped.", error.brief, _CORRECT) from error
            return self._take_as_it_is(disk, entry)


class _Progress:
    """Reports progress now and then; ends a download that would fill the disk."""

    def __init__(self, store: ImageStore, tell: Tell) -> None:
        self._store = store
        self._tell = tell
        self._last = 0.0

    def __call__(self, done: int, size: int) -> None:
        now = time.monotonic()
        if now - self._last < _QUIET:
            return
        self._last = now
        check_room(self._store, max(0, size - done))
        self._tell(FetchingImage(done=min(done, size) if size else done, size=size))


def check_room(store: ImageStore, size: int) -> None:
    """Raises StorageFull when so many bytes more would fill the disk."""
    free = store.room()
    if free < size + _RESERVE:
        raise StorageFull(
            "There is no room for the image.",
            f"It takes {size >> 20} MiB more; {store.root} has {free >> 20} MiB, of which {_RESERVE >> 20} stay free.",
            _MAKE_ROOM,
        )


def expected(entry: ImageEntry) -> str:
    return f"URL:      {plain_url(entry.url)}\nexpected: {entry.digest}"


_MAKE_ROOM = "Make room there: slapos image list shows what is kept, slapos image remove removes it."
_CORRECT = "If the new content is right, order it with the actual digest; otherwise somebody changed it."
