"""What a program of a partition may use, set by whoever starts it: resource limits, priorities, and its cgroup.

The agent writes it into a file for each partition; supervisord, which loads this, reads it whenever it starts a program.
"""

import ctypes
import errno
import json
import os
import platform
import resource
from dataclasses import asdict, dataclass
from pathlib import Path

_IOPRIO_SET = {"x86_64": 251, "aarch64": 30, "riscv64": 30, "ppc64le": 273, "s390x": 282}  # syscall numbers
_IOPRIO_WHO_PROCESS = 1
_IOPRIO_BEST_EFFORT = 2 << 13
_PR_SET_NO_NEW_PRIVS = 38  # prctl(2)


@dataclass(frozen=True)
class LaunchLimits:
    """None and "" leave things as they are. `processes` is counted by Unix user, so only for one of the partition's own.

    `nice` is that of setpriority(2), `io_level` that of ioprio_set(2) from 0, the highest, to 7; `cgroup` is a folder.
    """

    processes: int | None = None
    descriptors: int | None = None
    nice: int | None = None
    io_level: int | None = None
    cgroup: str = ""
    keeps_rights: bool = False  # whether set-user-ID programs and the like give no rights (PR_SET_NO_NEW_PRIVS)

    def text(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    def apply(self) -> None:
        """To this process and what it will start. Raises OSError and ValueError for what cannot be had."""
        if self.keeps_rights and ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
            raise OSError(errno.EINVAL, "the kernel cannot keep a program from gaining rights")
        self.place(os.getpid())
        self.limit(os.getpid())
        if self.nice is not None:
            os.setpriority(os.PRIO_PROCESS, 0, self.nice)
        if self.io_level is not None and (number := _IOPRIO_SET.get(platform.machine())):
            ctypes.CDLL(None).syscall(number, _IOPRIO_WHO_PROCESS, 0, _IOPRIO_BEST_EFFORT | self.io_level)

    def place(self, pid: int) -> None:
        """Into the cgroup."""
        if not self.cgroup:
            return
        members = Path(self.cgroup, "cgroup.procs")
        try:
            members.write_text(str(pid))
        except FileNotFoundError:  # the machine was started anew
            members.parent.mkdir(exist_ok=True)
            members.write_text(str(pid))

    def limit(self, pid: int) -> None:
        """Set the resource limits of a process; one that it may not have so high is as high as it may be."""
        for kind, number in self._resources():
            try:
                resource.prlimit(pid, kind, (number, number))
            except (PermissionError, ValueError):
                number = _at_most(number, resource.prlimit(pid, kind)[1])
                resource.prlimit(pid, kind, (number, number))

    def prefix(self) -> tuple[str, ...]:
        """Words before a command line that have it run within the limits of a process (setpriv(1), prlimit(1))."""
        found = [(_OPTIONS[kind], _at_most(number, resource.getrlimit(kind)[1])) for kind, number in self._resources()]
        words = tuple(f"--{name}={number}:{number}" for name, number in found)
        rights = ("/usr/bin/setpriv", "--no-new-privs", "--") if self.keeps_rights else ()
        return (*rights, *(("/usr/bin/prlimit", *words, "--") if words else ()))

    def _resources(self) -> list[tuple[int, int]]:
        found = ((resource.RLIMIT_NPROC, self.processes), (resource.RLIMIT_NOFILE, self.descriptors))
        return [(kind, number) for kind, number in found if number is not None]


def _at_most(number: int, most: int) -> int:
    return number if most == resource.RLIM_INFINITY else min(number, most)


_OPTIONS = {resource.RLIMIT_NPROC: "nproc", resource.RLIMIT_NOFILE: "nofile"}
UNLIMITED = LaunchLimits()


def load_launch_limits(path: Path) -> LaunchLimits:
    """Of a partition that has no file yet: none. Raises ValueError and TypeError for a file that is broken."""
    try:
        return LaunchLimits(**json.loads(path.read_text()))
    except FileNotFoundError:
        return UNLIMITED
