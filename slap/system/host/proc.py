"""What /proc says of processes, and waiting for their end. supervisord loads this: it imports little."""

import errno
import os
import select
import time
from collections.abc import Iterator

# Every process that a node starts carries these, and so does all that it starts in turn, daemons included.
NODE_MARK = "SLAPOS_NODE_ROOT"
PARTITION_MARK = "SLAPOS_PARTITION"

# A process within execve(2) shows no environment for some microseconds, longer on a busy machine.
_EXEC_SECONDS = 0.1
_EXEC_PAUSE_SECONDS = 0.0005


def wait_for_end(pid: int, seconds: float) -> bool:
    """Wait until a process is gone, ours or not; whether it is."""
    try:
        descriptor = os.pidfd_open(pid)
    except OSError as error:
        if error.errno in (errno.ESRCH, errno.EINVAL):  # EINVAL: the process id is only that of a thread by now
            return True
        raise
    try:
        waiting = select.poll()  # unlike select(), for any number of open files
        waiting.register(descriptor, select.POLLIN)
        return bool(waiting.poll(seconds * 1000))
    finally:
        os.close(descriptor)


def is_alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    return _state(pid) not in ("", "Z", "X")


def is_suspended(pid: int) -> bool:
    """Whether a process was stopped by a signal or a debugger; it holds its ports then, and answers nothing."""
    return _state(pid) in ("T", "t")


def ancestors_of(pid: int) -> set[int]:
    """A process, its parent, and so on up."""
    seen: set[int] = set()
    while pid > 1 and pid not in seen:
        seen.add(pid)
        pid = _parent(pid)
    return seen


def is_descendant(pid: int, ancestor: int) -> bool:
    return ancestor in ancestors_of(pid)


def is_of(pid: int, user: int) -> bool:
    """Whether any of its four user ids is this one: a process that runs a set-uid program is still its user's."""
    ids = next((line.split()[1:] for line in read_file(pid, "status").splitlines() if line.startswith(b"Uid:")), [])
    return str(user).encode() in ids


def children_of(pid: int) -> list[int]:
    """The children of a process without threads, zombies included."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children", "rb", buffering=0) as file:
            return [int(word) for word in file.readall().split()]
    except ProcessLookupError:
        return []
    except FileNotFoundError:  # a kernel without CONFIG_PROC_CHILDREN, or the process is gone
        return [each for each in all_pids() if _parent(each) == pid]


def read_environment(pid: int) -> dict[str, str]:
    """Return the variables that a process was started with; empty for one that is gone or that we may not look into."""
    variables = read_raw_environment(pid).decode(errors="replace").split("\0")
    return {name: value for name, equals, value in (variable.partition("=") for variable in variables) if equals}


def read_raw_environment(pid: int) -> bytes:
    """Return /proc/PID/environ, in which a name may occur twice. Waits for a process within execve(2), which shows none."""
    content, deadline = read_file(pid, "environ"), time.monotonic() + _EXEC_SECONDS
    while not content and _is_getting_environment(pid) and time.monotonic() < deadline:
        time.sleep(_EXEC_PAUSE_SECONDS)
        content = read_file(pid, "environ")
    return content


def started_at(pid: int) -> float:
    """When a process began, in seconds since the machine started; 0 for one that is gone."""
    fields = _stat(pid)
    return int(fields[19]) / os.sysconf("SC_CLK_TCK") if fields else 0.0


def all_pids() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdigit())


def read_file(pid: int, name: str) -> bytes:
    """A file of /proc/PID; empty for a process that is gone or that we may not look into."""
    try:
        with open(f"/proc/{pid}/{name}", "rb", buffering=0) as file:
            return file.readall()
    except (PermissionError, FileNotFoundError, ProcessLookupError):
        return b""


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the name, which may itself hold spaces and parentheses (proc(5))."""
    return read_file(pid, "stat").decode(errors="replace").rpartition(")")[2].split()


def _is_getting_environment(pid: int) -> bool:
    """Whether a process is within execve(2), or was a moment ago: it has arguments, and its environment is not known to be
    empty (proc(5), fields 48, 50 and 51; all are 0 of kernel threads, and of processes that we may not look into).
    """
    fields = _stat(pid)
    return len(fields) > 48 and fields[45] != "0" and (fields[47] == "0" or fields[47] != fields[48])


def _state(pid: int) -> str:
    fields = _stat(pid)
    return fields[0] if fields else ""


def _parent(pid: int) -> int:
    fields = _stat(pid)
    return int(fields[1]) if fields else 0
