"""The disks of a machine that runs, by qemu's own monitor: snapshots, bitmaps of what changed, and copies of it.

libvirt has names for these, too, but keeps records of its own of them, allows either snapshots or checkpoints, and starts
qemu anew to go back. All that is needed here is kept in the disks themselves.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from slap.model.errors import CommandFailed

_RUNNING = ("created", "running", "paused", "ready", "standby", "waiting", "pending", "aborting")


class Monitor(Protocol):
    """Who passes commands on to qemu, see its QMP reference; raises CommandFailed in qemu's words."""

    def ask(self, name: str, command: str, arguments: Mapping[str, Any]) -> Any: ...


@dataclass(frozen=True)
class Bitmap:
    """What of a disk changed since it was made. One that qemu could not save when it ended is of no use."""

    disk: str
    name: str
    is_usable: bool = True


@dataclass(frozen=True)
class Copy:
    """A disk to be copied into a file that is there: what changed since a bitmap was made, or all of it."""

    disk: str
    target: Path
    since: str = ""  # a bitmap's name


@dataclass(frozen=True)
class Progress:
    """Of copies on their way, in bytes."""

    done: int
    size: int
    ended: bool
    error: str = ""


class Blocks:
    """The disks of one machine, by their names and files."""

    def __init__(self, monitor: Monitor, machine: str, disks: Mapping[str, Path]) -> None:
        self._monitor = monitor
        self._machine = machine
        self._disks = disks

    def take_snapshot(self, name: str) -> None:
        """Of all disks at the same moment."""
        self._at_once(_action("blockdev-snapshot-internal-sync", device=node, name=name) for node in self._nodes())

    def delete_snapshot(self, name: str, disk: str) -> None:
        self._ask("blockdev-snapshot-delete-internal-sync", device=self._node(disk), name=name)

    def bitmaps(self) -> tuple[Bitmap, ...]:
        nodes = {each["node-name"]: each for each in self._ask("query-named-block-nodes", flat=True)}
        return tuple(
            Bitmap(disk, bitmap["name"], not bitmap.get("inconsistent", False))
            for disk in self._disks
            for bitmap in nodes[self._node(disk)].get("dirty-bitmaps", ())
            if bitmap.get("name")
        )

    def remove_bitmap(self, bitmap: Bitmap) -> None:
        self._ask("block-dirty-bitmap-remove", node=self._node(bitmap.disk), name=bitmap.name)

    def start_copies(self, copies: Iterable[Copy], bitmap: str) -> None:
        """Begin to copy, all disks as they are at the same moment; from it on the bitmap notes what changes."""
        actions = []
        for copy in copies:
            node = self._node(copy.disk)
            self._add_target(copy)
            actions.append(_action("block-dirty-bitmap-add", node=node, name=bitmap, persistent=True))
            what = {"sync": "bitmap", "bitmap": copy.since, "bitmap-mode": "never"} if copy.since else {"sync": "full"}
            job = {"job-id": _job(copy.disk), "device": node, "target": _target(copy.disk), "auto-dismiss": False}
            actions.append(_action("blockdev-backup", **job, **what))
        self._at_once(actions)

    def progress(self, copies: Collection[Copy]) -> Progress:
        """Of copies that were started; a machine that ended meanwhile knows nothing of them any more."""
        jobs = self._jobs()
        errors = [job["error"] for job in jobs if job.get("error")]
        if len(jobs) < len(copies):
            errors.append("The machine ended while it was copied.")
        return Progress(
            sum(job["current-progress"] for job in jobs),
            sum(job["total-progress"] for job in jobs),
            all(job["status"] not in _RUNNING for job in jobs),
            next(iter(errors), ""),
        )

    def cancel_copies(self) -> None:
        """Those that still run, so that they can be cleared away."""
        for job in self._jobs():
            if job["status"] in _RUNNING and job["status"] != "aborting":
                self._cancel(job["id"])

    def _cancel(self, name: str) -> None:
        try:
            self._ask("job-cancel", id=name)
        except CommandFailed:
            if any(job["id"] == name and job["status"] in _RUNNING for job in self._jobs()):
                raise
            # It ended just then by itself.

    def clear_copies(self) -> None:
        """Forget copies that ended, and let go of their files."""
        for job in self._jobs():
            if job["status"] == "concluded":
                self._ask("job-dismiss", id=job["id"])
        there = {each["node-name"] for each in self._ask("query-named-block-nodes", flat=True)}
        for disk in self._disks:
            for node in (_target(disk), _target_file(disk)):
                if node in there:
                    self._ask("blockdev-del", **{"node-name": node})

    def _jobs(self) -> list[dict[str, Any]]:
        ours = {_job(disk) for disk in self._disks}
        return [job for job in self._ask("query-jobs") if job["id"] in ours]

    def _add_target(self, copy: Copy) -> None:
        file, disk = _target_file(copy.disk), _target(copy.disk)
        self._ask("blockdev-add", **{"node-name": file, "driver": "file", "filename": str(copy.target)})
        zeroes = {"discard": "unmap", "detect-zeroes": "unmap"}
        self._ask("blockdev-add", **{"node-name": disk, "driver": "qcow2", "file": file, **zeroes})

    def _nodes(self) -> list[str]:
        return [self._node(disk) for disk in self._disks]

    def _node(self, disk: str) -> str:
        """libvirt calls the node of a file libvirt-N-storage, and that of the disk in it libvirt-N-format."""
        path = str(self._disks[disk])
        for each in self._ask("query-named-block-nodes", flat=True):
            name = str(each["node-name"])
            if each["drv"] == "file" and each["file"] == path and name.startswith("libvirt-"):
                return name.replace("-storage", "-format")
        raise CommandFailed(
            f"The machine that runs has no disk {disk}.", f"{path} is none of its files.", "Wait for its restart."
        )

    def _at_once(self, actions: Iterable[dict[str, Any]]) -> None:
        """All of it begins at the same moment, or nothing does."""
        self._ask("transaction", actions=list(actions))

    def _ask(self, command: str, **arguments: Any) -> Any:
        return self._monitor.ask(self._machine, command, arguments)


def _action(kind: str, **data: Any) -> dict[str, Any]:
    return {"type": kind, "data": data}


def _job(disk: str) -> str:
    return f"backup-{disk}"


def _target(disk: str) -> str:
    return f"backup-{disk}"  # a node's name has 31 characters at most


def _target_file(disk: str) -> str:
    return f"file-{disk}"
