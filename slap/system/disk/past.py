"""What qcow2 disks that no machine uses can tell of their past: snapshots, bitmaps, and chains of what changed."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from slap.model.errors import CommandFailed, InvalidInput
from slap.model.vm.life import Snapshot
from slap.system import environment
from slap.system.process import Command, Completed, Runner

_PATIENCE = 12 * 3600.0


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
        return self._runner.run(Command((program, *words), env=env, timeout=_PATIENCE, longest=1 << 20))
