"""The image store: each image once, by its digest, read-only and readable by all partitions.

disks/<sha512>            the image itself, read-only
records/<sha512>.json     what it is; written last: a disk without it was never finished
names/<name>.json         which one a name means here
downloads/<digest>.json   which one a download of this digest became
state/<key>.json          what partitions are told of what they asked for
uses/<partition>.json     which ones a partition may have disks on top of
incoming/<key>/           what is on its way for those who ask for that; aside-* is for what may come to nothing

Only disks and states are for others than the node, and only for who knows their names: nobody may list them.
"""

import json
import logging
import shutil
from collections.abc import Container, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from typing import TypeVar

from pydantic import ValidationError

from slap.model.base import Frozen
from slap.model.errors import NotFound
from slap.model.vm.image import ImageEntry, ImageState, ReadyImage, read_state, state_file
from slap.model.vm.kept import ImageReference, KeptImage, Origin
from slap.system import files

log = logging.getLogger(__name__)

Document = TypeVar("Document", bound=Frozen)

_LOCK = ".lock"
_OPEN = ("disks", "state")
_PRIVATE = ("records", "names", "downloads", "uses", "incoming")


class ImageStore:
    """The store, made of files only, so that several processes can use it and any can be killed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.incoming = root / "incoming"

    def make(self) -> None:
        """Create the folders."""
        files.make_folder(self.root)
        for name in _OPEN:
            files.make_folder(self.root / name, 0o711)
        for name in _PRIVATE:
            files.make_folder(self.root / name, 0o700)

    def disk(self, sha512: str) -> Path:
        return self.root / "disks" / sha512

    @contextmanager
    def aside(self) -> Iterator[Path]:
        """A temporary folder."""
        folder = self.incoming / f"aside-{token_hex(8)}"
        folder.mkdir(mode=0o700)
        try:
            with files.exclusive(folder / _LOCK):
                yield folder
        finally:
            files.remove_tree(folder)

    def arriving(self, entry: ImageEntry) -> Path:
        """The folder for the download of an entry."""
        return self.incoming / entry.key

    @contextmanager
    def fetching(self, entry: ImageEntry) -> Iterator[bool]:
        """Lock an entry for its download while the block runs; yields whether this process got the lock."""
        lock = self._lock(entry.key)
        with files.exclusive(lock, wait=False) as mine:
            yield mine
            if mine:
                lock.unlink(missing_ok=True)

    def keep(self, made: Path, record: KeptImage) -> None:
        """Store a validated file by moving it; it must be on the same disk."""
        made.chmod(0o444)
        files.put_in_place(made, self.disk(record.sha512))
        _write(self._file("records", record.sha512), record)

    def record(self, sha512: str) -> KeptImage | None:
        found = _read(self._file("records", sha512), KeptImage)
        return found if found and self.disk(sha512).exists() else None

    def records(self) -> list[KeptImage]:
        found = (self.record(path.stem) for path in sorted((self.root / "records").glob("*.json")))
        return [each for each in found if each]

    def find(self, entry: ImageEntry) -> KeptImage | None:
        """The stored image of an entry, or None."""
        if entry.name:
            return self.named(entry.name)
        reference = _read(self._file("downloads", entry.digest), ImageReference)
        found = reference.sha512 if reference else entry.sha512
        return self.record(found) if found else None

    def named(self, name: str) -> KeptImage | None:
        reference = _read(self._file("names", name), ImageReference)
        return self.record(reference.sha512) if reference else None

    def names(self) -> dict[str, str]:
        """Digests by name."""
        found = {path.stem: _read(path, ImageReference) for path in sorted((self.root / "names").glob("*.json"))}
        return {name: reference.sha512 for name, reference in found.items() if reference}

    def name(self, name: str, sha512: str) -> None:
        _write(self._file("names", name), ImageReference(sha512=sha512))

    def unname(self, name: str) -> None:
        self._file("names", name).unlink(missing_ok=True)

    def note_download(self, digest: str, became: str) -> None:
        _write(self._file("downloads", digest), ImageReference(sha512=became))

    def tell(self, entry: ImageEntry, state: ImageState) -> None:
        """Write the status of an entry for partitions; on a full disk it is written later."""
        text = state.model_dump_json() + "\n"
        try:
            files.write_if_changed(state_file(self.root, entry), text)
        except OSError as error:
            log.error("The state of image %s cannot be told: %s", entry, error)

    def untell(self, entry: ImageEntry) -> None:
        state_file(self.root, entry).unlink(missing_ok=True)

    def told(self, entry: ImageEntry) -> ImageState | None:
        return _state(state_file(self.root, entry))

    def use(self, partition: str, found: Iterable[str]) -> None:
        """Record the images that a partition uses, until it is empty."""
        path = self._file("uses", partition)
        before = _digests(path)
        if not before.issuperset(found := set(found)):
            files.write(path, json.dumps(sorted(before | found)))

    def forget_uses(self, partition: str) -> None:
        self._file("uses", partition).unlink(missing_ok=True)

    def users(self) -> dict[str, set[str]]:
        """Names of partitions by the digests of images that they use."""
        found: dict[str, set[str]] = {}
        for path in sorted((self.root / "uses").glob("*.json")):
            for sha512 in _digests(path):
                found.setdefault(sha512, set()).add(path.stem)
        return found

    def adopt(self, sha512: str, origin: Origin) -> KeptImage:
        """Change the reason for which an image is stored."""
        kept = self.record(sha512)
        if kept is None:
            raise NotFound(f"There is no image {sha512[:16]}.", resolution="slapos image list")
        kept = kept.model_copy(update={"origin": origin})
        _write(self._file("records", sha512), kept)
        return kept

    def remove(self, sha512: str) -> None:
        """Remove an image: its record first, so that nothing begins to use it."""
        if self.record(sha512) is None:
            raise NotFound(f"There is no image {sha512[:16]}.", resolution="slapos image list")
        self._file("records", sha512).unlink(missing_ok=True)
        for name in [name for name, digest in self.names().items() if digest == sha512]:
            self.unname(name)
        for path in (self.root / "state").glob("*.json"):
            state = _state(path)
            if isinstance(state, ReadyImage) and state.path == self.disk(sha512):
                path.unlink(missing_ok=True)
        self.disk(sha512).unlink(missing_ok=True)

    def litter(self, needed: Container[str] = ()) -> list[Path]:
        """Remains of interrupted work that no process holds and none of these entries needs."""
        known = {each.sha512 for each in self.records()}
        disks = [path for path in (self.root / "disks").glob("*") if path.name not in known]
        coming = [path for path in self.incoming.glob("*") if path.name not in needed and not self._is_at_work(path)]
        states = [path for path in (self.root / "state").glob("*.json") if path.stem not in needed]
        return [*disks, *coming, *(path for path in states if not isinstance(_state(path), ReadyImage))]

    def room(self) -> int:
        """Free bytes on the store's disk."""
        return shutil.disk_usage(self.root).free

    def ready(self, kept: KeptImage) -> ReadyImage:
        return ReadyImage(
            path=self.disk(kept.sha512), sha512=kept.sha512, format=kept.format, virtual_size=kept.virtual_size
        )

    def _is_at_work(self, path: Path) -> bool:
        """Whether a process holds the lock of a folder or entry."""
        if path.name.startswith("."):
            return _is_held(path)
        return any(map(_is_held, (self._lock(path.name), *path.glob(".*lock"))))

    def _lock(self, key: str) -> Path:
        return self.incoming / f".{key}.lock"

    def _file(self, folder: str, name: str) -> Path:
        return self.root / folder / f"{name}.json"


def _write(path: Path, document: Frozen) -> None:
    files.write_if_changed(path, document.model_dump_json() + "\n")


def _read(path: Path, kind: type[Document]) -> Document | None:
    with suppress(ValidationError, FileNotFoundError):
        return kind.model_validate_json(path.read_bytes())
    return None


def _digests(path: Path) -> set[str]:
    with suppress(ValueError):
        return set(json.loads(files.read_or(path, "[]")))
    return set()


def _state(path: Path) -> ImageState | None:
    with suppress(ValidationError, OSError):
        return read_state(path.read_bytes())
    return None


def _is_held(lock: Path) -> bool:
    if not lock.is_file():
        return False
    with files.exclusive(lock, wait=False) as is_free:
        return not is_free
