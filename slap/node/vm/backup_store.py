"""Stores of backups: a folder of the partition, or a vault in another partition."""

import importlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from pydantic import ValidationError

from slap.model.errors import InvalidInput, NotFound
from slap.model.vm.life import BACKUP_FOLDER, BackupIndex, BackupPoint, Vault
from slap.node.vm.backup_points import chain, find_point
from slap.system import files
from slap.system.disk.qemu_img import Past

if TYPE_CHECKING:
    from slap.system.network.webdav import Dav

_INDEX = "index.json"


class Store(Protocol):
    """Files of disks by point, and an index: a point that it does not name does not exist."""

    def index(self) -> BackupIndex: ...

    def write_index(self, index: BackupIndex) -> None: ...

    def put(self, point: str, disk: str, made: Path) -> None:
        """Store a file by moving it."""

    def fetch(self, point: str, disk: str, folder: Path) -> Path:
        """The file: downloaded into a folder, or where it is stored."""

    def remove(self, point: str) -> None:
        """Remove all files of a point that exist."""


@dataclass(frozen=True)
class FolderStore:
    """A store in the partition itself."""

    folder: Path

    def index(self) -> BackupIndex:
        return _read_index(files.read_or(self.folder / _INDEX, "{}"), str(self.folder))

    def write_index(self, index: BackupIndex) -> None:
        files.write(self.folder / _INDEX, index.model_dump_json(indent=1), 0o600)

    def put(self, point: str, disk: str, made: Path) -> None:
        place = self.folder / point
        files.make_folder(place, 0o700)
        files.put_in_place(made, place / f"{disk}.qcow2")

    def fetch(self, point: str, disk: str, folder: Path) -> Path:
        return self.folder / point / f"{disk}.qcow2"

    def remove(self, point: str) -> None:
        files.remove_tree(self.folder / point)


@dataclass(frozen=True)
class VaultStore:
    """A store in another partition."""

    dav: "Dav"
    folder: str
    copy: Path  # of the index as it was written last, for when the vault is away

    def index(self) -> BackupIndex:
        return _read_index(self.dav.get(f"{self.folder}/{_INDEX}") or b"{}", self.folder)

    def write_index(self, index: BackupIndex) -> None:
        text = index.model_dump_json(indent=1)
        self.dav.put(f"{self.folder}/{_INDEX}", text.encode())
        files.write(self.copy, text, 0o600)

    def put(self, point: str, disk: str, made: Path) -> None:
        with made.open("rb") as file:
            self.dav.put(self._path(point, disk), file)
        made.unlink()

    def fetch(self, point: str, disk: str, folder: Path) -> Path:
        target = folder / f"{disk}-{point}.qcow2"
        self.dav.download(self._path(point, disk), target)
        return target

    def remove(self, point: str) -> None:
        self.dav.delete(f"{self.folder}/{point}/")

    def _path(self, point: str, disk: str) -> str:
        return f"{self.folder}/{point}/{disk}.qcow2"


@dataclass(frozen=True)
class Backups:
    """All backups that a machine can access. `connect` opens a vault."""

    folder: Path  # of the partition
    past: Past
    connect: Callable[[Vault, Path], "Dav"]

    @property
    def scratch(self) -> Path:
        return self.folder / BACKUP_FOLDER / "aside"

    def store(self, vault: Vault | None) -> Store:
        place = self.folder / BACKUP_FOLDER
        files.make_folder(place, 0o700)
        if vault is None:
            return FolderStore(place)
        certificate = place / "vault.crt"
        files.write(certificate, vault.certificate, 0o600)
        return VaultStore(self.connect(vault, certificate), vault.folder, self._copy(vault))

    def known(self, vault: Vault | None) -> BackupIndex:
        """The index as last read, without asking the store."""
        if vault is None:
            return FolderStore(self.folder / BACKUP_FOLDER).index()
        return _read_index(files.read_or(self._copy(vault), "{}"), vault.url)

    def check(self, vault: Vault | None, point: str) -> None:
        """Raise NotFound for a point that cannot be restored."""
        self._find(vault, point)

    @contextmanager
    def assembled(self, vault: Vault | None, point: str | None) -> Iterator[Mapping[str, Path]]:
        """Yield a complete file for each disk at a point (None: the newest) while the block runs."""
        store, found = self._find(vault, point)
        points = store.index().points
        files.remove_tree(self.scratch)
        files.make_folder(self.scratch, 0o700)
        try:
            yield {disk: self._top(store, chain(points, found.name, disk), disk) for disk in found.disks}
        finally:
            files.remove_tree(self.scratch)

    def _copy(self, vault: Vault) -> Path:
        key = sha256(f"{vault.url}{vault.folder}".encode()).hexdigest()[:16]
        return self.folder / BACKUP_FOLDER / f"vault-{key}.json"

    def _find(self, vault: Vault | None, point: str | None) -> tuple[Store, BackupPoint]:
        """The store that has a point: the vault, or the partition for earlier backups."""
        for place in (vault, None) if vault else (None,):
            store = self.store(place)
            try:
                return store, find_point(store.index(), point)
            except NotFound:
                if place is None:
                    raise
        raise AssertionError("the partition itself is always among the places")

    def _top(self, store: Store, parts: tuple[BackupPoint, ...], disk: str) -> Path:
        paths = [store.fetch(part.name, disk, self.scratch) for part in parts]
        self.past.link(paths)
        return paths[-1]


def connect_vault(vault: Vault, certificate: Path) -> "Dav":
    """Open a vault; its client is imported lazily, since most machines have no vault."""
    module = importlib.import_module("slap.system.network.webdav")
    return cast("Dav", module.WebDav(vault.url, vault.user, vault.password, certificate))


def _read_index(text: str | bytes, where: str) -> BackupIndex:
    try:
        return BackupIndex.model_validate_json(text)
    except ValidationError as error:
        raise InvalidInput(
            f"The list of backups in {where} cannot be read.",
            str(error),
            "Move it away: the next backup is a whole one.",
        ) from error
