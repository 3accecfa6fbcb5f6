"""Processors for processes, by the kernel's control groups of either version."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from slap.model.errors import CommandFailed

CGROUP = Path("/sys/fs/cgroup")


class CpuSets(Protocol):
    """Groups of one processor each."""

    def cpus(self) -> Sequence[int]: ...
    def taken(self) -> Mapping[int, frozenset[int]]: ...
    def give(self, pid: int, cpu: int) -> None: ...
    def move_others(self) -> None: ...


class _Groups:
    """What both versions share. `root` is the group whose processors are given away."""

    cpus_file = "cpuset.cpus"

    def __init__(self, root: Path) -> None:
        self.root = root

    def cpus(self) -> Sequence[int]:
        return parse_cpus((self.root / self.cpus_file).read_text())

    def taken(self) -> Mapping[int, frozenset[int]]:
        return {cpu: _processes(self.group(cpu)) for cpu in self.cpus() if self.group(cpu).exists()}

    def group(self, cpu: int) -> Path:
        return self.root / f"cpu{cpu}"


class FirstVersion(_Groups):
    """cgroup v1: a processor is one's own when everybody else was moved to the first."""

    def give(self, pid: int, cpu: int) -> None:
        folder = self.group(cpu)
        folder.mkdir(exist_ok=True)
        _write(folder / "cpuset.mems", (self.root / "cpuset.mems").read_text())
        _write(folder / "cpuset.cpus", str(cpu))
        _write(folder / "cgroup.procs", str(pid))

    def move_others(self) -> None:
        """The kernel keeps some of its own threads where they are."""
        first = self.cpus()[0]
        for pid in _processes(self.root):
            with suppress(CommandFailed):
                self.give(pid, first)


class SecondVersion(_Groups):
    """cgroup v2: the kernel keeps all others off a processor that is a partition of its own."""

    cpus_file = "cpuset.cpus.effective"

    def cpus(self) -> Sequence[int]:
        """A processor that was given away is not among the effective ones any more."""
        given = [int(path.name.removeprefix("cpu")) for path in self.root.glob("cpu[0-9]*") if _processes(path)]
        return sorted({*super().cpus(), *given})

    def give(self, pid: int, cpu: int) -> None:
        _write(self.root / "cgroup.subtree_control", "+cpuset")
        folder = self.group(cpu)
        folder.mkdir(exist_ok=True)
        _write(folder / "cpuset.cpus", str(cpu))
        _write(folder / "cpuset.cpus.partition", "root")
        _write(folder / "cgroup.procs", str(pid))

    def move_others(self) -> None:
        return None


def find_cpusets(mounted: Path = CGROUP) -> CpuSets:
    """The version that this computer has; raises CommandFailed when it has none."""
    if (mounted / "cpuset/cpuset.cpus").exists():
        return FirstVersion(mounted / "cpuset")
    with suppress(OSError):
        if "cpuset" in (mounted / "cgroup.controllers").read_text().split():
            return SecondVersion(mounted)
    raise CommandFailed(
        "This computer gives no processors away.",
        f"There is no cpuset controller under {mounted}.",
        "Mount it, or take cpuset out of manager_list in slapos.cfg.",
    )


def parse_cpus(text: str) -> list[int]:
    """`0-2,5` as a list (cpuset(7), list format)."""
    found: list[int] = []
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        if first:
            found.extend(range(int(first), int(last or first) + 1))
    return found


def _processes(folder: Path) -> frozenset[int]:
    try:
        return frozenset(int(word) for word in (folder / "cgroup.procs").read_text().split())
    except FileNotFoundError:
        return frozenset()


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text)
    except OSError as error:
        raise CommandFailed(f"{path} takes no {text.strip()!r}: {error.strerror}.") from error
