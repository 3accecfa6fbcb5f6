"""qemu-img: what an image is, whether it is whole, and making one of another."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from slap.model.base import Frozen
from slap.model.errors import CommandFailed, InvalidInput
from slap.model.vm.life import Snapshot
from slap.system import environment
from slap.system.process import Command, Completed, Runner

_PATIENCE = 1800.0
_PATIENCE_WITH_HISTORY = 12 * 3600.0
_LIMITED = ("prlimit", f"--as={4 << 30}", "--cpu=300", "--")


class ImageInfo(Frozen):
    """What an image says of itself."""

    format: str
    virtual_size: int  # bytes of the disk that a machine sees
    backing_file: str = ""
    data_file: str = ""


class BrokenImage(InvalidInput):
    """Not an image of a disk, or a damaged one."""

    kind = "broken-image"


class QemuImg:
    """Its calls, for files that may come from anywhere: their format is never guessed from what is in them."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def convert(self, raw: Path, qcow2: Path, compressed: bool = True) -> None:
        words = ("-c",) if compressed else ()
        self._run("convert", "-f", "raw", "-O", "qcow2", *words, str(raw), str(qcow2)).check()

    def info(self, path: Path, kind: str) -> ImageInfo:
        """Raises BrokenImage for what is no image of that format. It may be in use by a machine."""
        done = self._run_limited("info", "--force-share", "--output", "json", "-f", kind, "--", str(path))
        if done.status != 0:
            raise _broken(path, done)
        try:
            return _info(json.loads(done.stdout))
        except (ValueError, KeyError, TypeError, ValidationError) as error:
            raise CommandFailed("qemu-img answered nonsense.", str(error)) from error

    def check(self, path: Path) -> None:
        """Raises BrokenImage for a qcow2 whose tables are damaged."""
        done = self._run_limited("check", "-q", "-f", "qcow2", "--", str(path))
        # 3: nothing is lost, but room in the file is
        if done.status not in (0, 3):
            raise _broken(path, done)

    def _run_limited(self, *words: str) -> Completed:
        """A file that is made to be looked at for ever, or with all memory, is a broken one."""
        return self._run(*words, prefix=_LIMITED)

    def _run(self, *words: str, prefix: tuple[str, ...] = ()) -> Completed:
        argv = (*prefix, environment.program("qemu-img", "qemu-utils"), *words)
        env = {"PATH": environment.CLEAN_PATH}
        return self._runner.run(Command(argv, env=env, timeout=_PATIENCE, longest=1 << 20))


class Past:
    """qemu-img's calls for it. What only reads may be asked of a disk in use as well."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def snapshots(self, disk: Path) -> tuple[Snapshot, ...]:
        """From the oldest on."""
        return tuple(
            Snapshot(name=each["name"], at=datetime.fromtimestamp(each["date-sec"], UTC))
            for each in self._info(disk).get("snapshots", ())
        )

    def size(self, disk: Path) -> int:
        """Bytes that a guest sees. Raises InvalidInput for a disk that has content in other files than it should."""
        info = self._info(disk)
        if (info.get("format-specific", {}).get("data") or {}).get("data-file"):
            raise InvalidInput(f"{disk.name} is not a whole disk.", "It refers to another file for its content.")
        return int(info["virtual-size"])

    def take_snapshot(self, disk: Path, name: str) -> None:
        self._run("snapshot", "-q", "-c", name, str(disk)).check()

    def delete_snapshot(self, disk: Path, name: str) -> None:
        self._run("snapshot", "-q", "-d", name, str(disk)).check()

    def go_back(self, disk: Path, snapshot: str) -> None:
        """What changed since is lost, and with it what bitmaps knew of changes."""
        self.forget_changes(disk)
        self._run("snapshot", "-q", "-a", snapshot, str(disk)).check()

    def forget_changes(self, disk: Path) -> None:
        data = self._info(disk).get("format-specific", {}).get("data") or {}
        for bitmap in data.get("bitmaps") or ():
            self._run("bitmap", "--remove", "-f", "qcow2", str(disk), bitmap["name"]).check()

    def make(self, disk: Path, size: int) -> None:
        """An empty one."""
        self._run("create", "-q", "-f", "qcow2", str(disk), str(size)).check()

    def link(self, chain: Sequence[Path]) -> None:
        """Let each file of a chain refer to the one before; whatever they said themselves does not count."""
        for before, disk in zip((None, *chain), chain, strict=False):
            backing = ("-b", str(before), "-F", "qcow2") if before else ("-b", "")
            self._run("rebase", "-u", "-f", "qcow2", *backing, str(disk)).check()

    def flatten(self, top: Path, disk: Path) -> None:
        """A new disk with all that a chain has."""
        self._run("convert", "-f", "qcow2", "-O", "qcow2", str(top), str(disk)).check()

    def overwrite(self, top: Path, disk: Path) -> None:
        """The same into a disk that is there; its snapshots stay what they are."""
        if (size := self.size(top)) > self.size(disk):
            self._run("resize", "-q", "-f", "qcow2", str(disk), str(size)).check()
        self.forget_changes(disk)
        self._run("convert", "-n", "-f", "qcow2", "-O", "qcow2", str(top), str(disk)).check()

    def _info(self, disk: Path) -> dict[str, Any]:
        done = self._run("info", "--force-share", "--output", "json", "-f", "qcow2", "--", str(disk)).check()
        try:
            said: dict[str, Any] = json.loads(done.stdout)
        except ValueError as error:
            raise CommandFailed("qemu-img answered nonsense.", str(error)) from error
        return said

    def _run(self, *words: str) -> Completed:
        program = environment.program("qemu-img", "qemu-utils")
        env = {"PATH": environment.CLEAN_PATH}
        return self._runner.run(Command((program, *words), env=env, timeout=_PATIENCE_WITH_HISTORY, longest=1 << 20))


def _info(said: dict[str, Any]) -> ImageInfo:
    special = said.get("format-specific") or {}
    return ImageInfo(
        format=said["format"],
        virtual_size=said["virtual-size"],
        backing_file=said.get("backing-filename") or "",
        data_file=(special.get("data") or {}).get("data-file") or "",
    )


def _broken(path: Path, done: Completed) -> BrokenImage:
    said = (done.stderr or done.stdout).strip().splitlines()
    return BrokenImage(f"{path.name} is not a whole disk image.", said[-1] if said else "", "Fetch or make it again.")
