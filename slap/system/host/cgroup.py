"""Cgroups of partitions, where version 2 of them can be written (https://docs.kernel.org/admin-guide/cgroup-v2.html)."""

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from slap.system.host.proc import wait_for_end

NEEDED_CONTROLLERS = frozenset({"memory", "pids"})
_END_SECONDS = 5.0  # for what was killed to be gone
_SHARES, _ORDINARY_SHARES = "cpu.shares", 1024  # of version 1
_CONTROLLERS = ("memory", "pids", "cpu", "io")


class Cgroups(Protocol):
    """One cgroup for each partition of a node. A setting is a file of the cgroup and what it shall say."""

    def make(self, name: str, settings: Mapping[str, str]) -> str:
        """Have a cgroup with these settings; returns its folder, which a process joins by its file cgroup.procs."""
        ...

    def join(self, name: str, pid: int) -> None: ...
    def pids(self, name: str) -> list[int]: ...
    def kills(self, name: str) -> int:
        """How many of its processes the kernel killed so far because their memory was used up."""
        ...

    def remove(self, name: str) -> None:
        """Kill all that is in it, and take it away."""
        ...


@dataclass(frozen=True)
class UnifiedCgroups:
    """The kernel's, below a folder of the node's own. Raises OSError for what the kernel refuses."""

    root: Path

    def make(self, name: str, settings: Mapping[str, str]) -> str:
        folder = self.root / name
        folder.mkdir(exist_ok=True)
        for file, value in settings.items():
            if (folder / file).exists() and (folder / file).read_text().strip() != value:
                (folder / file).write_text(value)
        return str(folder)

    def join(self, name: str, pid: int) -> None:
        with suppress(ProcessLookupError):
            (self.root / name / "cgroup.procs").write_text(str(pid))

    def pids(self, name: str) -> list[int]:
        try:
            return [int(word) for word in (self.root / name / "cgroup.procs").read_text().split()]
        except FileNotFoundError:
            return []

    def kills(self, name: str) -> int:
        try:
            lines = (self.root / name / "memory.events").read_text().splitlines()
        except FileNotFoundError:
            return 0
        return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)

    def remove(self, name: str) -> None:
        folder = self.root / name
        if folder.exists():
            pids = self.pids(name)
            (folder / "cgroup.kill").write_text("1")
            for pid in pids:
                wait_for_end(pid, _END_SECONDS)
            with suppress(OSError):  # something hangs in the kernel: an empty cgroup stays, which costs nothing
                folder.rmdir()


@dataclass(frozen=True)
class ProcessorGroups:
    """Groups of version 1 that share processors by weight, below a folder of the node's own. They limit nothing else.

    A process cannot leave its group, while it can leave a session, and so the groups that the kernel makes of sessions.
    """

    root: Path

    def make(self, name: str, weight: int) -> str:
        """Have a group of this weight, of which 100 is ordinary; returns its folder, as that of a cgroup."""
        folder, shares = self.root / name, str(max(2, weight * _ORDINARY_SHARES // 100))
        try:
            current = (folder / _SHARES).read_text().strip()
        except FileNotFoundError:
            folder.mkdir(parents=True, exist_ok=True)
            current = ""
        if current != shares:
            (folder / _SHARES).write_text(shares)
        return str(folder)

    def remove(self, name: str) -> None:
        """Of a partition whose processes have ended."""
        with suppress(OSError):  # it was never made, or something hangs in the kernel: an empty group costs nothing
            (self.root / name).rmdir()


@dataclass
class FakeCgroups:
    """Remembers what it is told."""

    settings: dict[str, dict[str, str]] = field(default_factory=dict)
    members: dict[str, list[int]] = field(default_factory=dict)
    killed: dict[str, int] = field(default_factory=dict)

    def make(self, name: str, settings: Mapping[str, str]) -> str:
        self.settings[name] = {**self.settings.get(name, {}), **settings}
        self.members.setdefault(name, [])
        return f"/sys/fs/cgroup/fake/{name}"

    def join(self, name: str, pid: int) -> None:
        for members in self.members.values():
            if pid in members:
                members.remove(pid)
        self.members[name].append(pid)

    def pids(self, name: str) -> list[int]:
        return list(self.members.get(name, []))

    def kills(self, name: str) -> int:
        return self.killed.get(name, 0)

    def remove(self, name: str) -> None:
        self.settings.pop(name, None)
        self.members.pop(name, None)


def open_cgroups(node: str) -> UnifiedCgroups | None:
    """The cgroups of a node, in the first place where it may make some with limits of memory and processes."""
    for place in _places(Path("/proc/self/mountinfo").read_text(), Path("/proc/self/cgroup").read_text()):
        with suppress(OSError):
            if found := _open(place, f"slapos-{node}"):
                return found
    return None


def open_processor_groups(node: str) -> ProcessorGroups | None:
    """Those of a node, where the hierarchy of version 1 that shares processors can be written."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split()
        root = Path(before.split()[4]) / f"slapos-{node}"
        if kind == "cgroup" and "cpu" in options.split(","):
            with suppress(OSError):
                root.mkdir(exist_ok=True)
                return ProcessorGroups(root) if os.access(root / _SHARES, os.W_OK) else None
    return None


def _open(place: Path, name: str) -> UnifiedCgroups | None:
    if not set((place / "cgroup.controllers").read_text().split()) >= NEEDED_CONTROLLERS:
        return None
    _enable(place)
    root = place / name
    root.mkdir(exist_ok=True)
    _enable(root)
    usable = set((root / "cgroup.subtree_control").read_text().split()) >= NEEDED_CONTROLLERS
    return UnifiedCgroups(root) if usable else None


def _enable(folder: Path) -> None:
    """Let what is in a cgroup have limits of its own; a controller that is not there is passed over."""
    present = (folder / "cgroup.controllers").read_text().split()
    enabled = (folder / "cgroup.subtree_control").read_text().split()
    for name in _CONTROLLERS:
        if name in present and name not in enabled:
            (folder / "cgroup.subtree_control").write_text(f"+{name}")


def _places(mounts: str, own: str) -> list[Path]:
    """Where the hierarchy of version 2 is; then, for who is not root, the cgroups above this process from the outermost."""
    fields = (line.split() for line in mounts.splitlines())
    found = next((Path(each[4]) for each in fields if each[each.index("-") + 1] == "cgroup2"), None)
    path = next((line[3:] for line in own.splitlines() if line.startswith("0::")), "")
    if found is None:
        return []
    above = [found, *reversed((found / path.strip("/")).parents), found / path.strip("/")]
    return [place for place in dict.fromkeys(above) if place.is_relative_to(found) and os.access(place, os.W_OK)]
