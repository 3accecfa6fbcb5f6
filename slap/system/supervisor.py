"""Supervisord, spoken to by XML-RPC over its Unix socket; its news arrive as datagrams."""

import http.client
import logging
import os
import socket
import threading
import time
import xmlrpc.client
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol
from xml.parsers.expat import ExpatError

from slap.model.errors import CommandFailed, SlapError, Unreachable

log = logging.getLogger(__name__)


class ProcessState(StrEnum):
    """The states of supervisor, http://supervisord.org/subprocess.html#process-states."""

    STOPPED = "STOPPED"
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    BACKOFF = "BACKOFF"
    STOPPING = "STOPPING"
    EXITED = "EXITED"
    FATAL = "FATAL"
    UNKNOWN = "UNKNOWN"

    @property
    def is_alive(self) -> bool:
        return self in (ProcessState.STARTING, ProcessState.RUNNING)


@dataclass(frozen=True)
class ProcessInfo:
    """A supervised process; `status` is how it last ended (-1: it did not), `started` seconds since the epoch."""

    name: str
    state: ProcessState
    pid: int = 0
    status: int = -1
    error: str = ""
    started: float = 0.0
    is_slowed: bool = False  # it prints faster than its log is written
    is_suspended: bool = False  # by SIGSTOP or a debugger: it is there, and does nothing


class Ending(Unreachable):
    """supervisord was told to end, and waits for its processes."""


class Supervisor(Protocol):
    """Groups of processes, one group a partition. `update` and `remove` return when it is done, not before."""

    def update(self, group: str) -> None: ...
    def remove(self, group: str) -> None: ...
    def start(self, group: str) -> None: ...
    def processes(self, group: str) -> list[ProcessInfo]: ...
    def groups(self) -> list[str]: ...


class News:
    """Who waits for what happens in supervisord. Counting spares everybody from missing what came too early."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._counts: dict[str, int] = {}
        self._changed: dict[str, threading.Condition] = {}  # one a group: what happens in one wakes nobody else

    def tell(self, group: str) -> None:
        with self._lock:
            self._counts[group] = self.count(group) + 1
            self._changed_in(group).notify_all()

    def count(self, group: str) -> int:
        return self._counts.get(group, 0)

    def wait(self, group: str, seen: int, seconds: float) -> None:
        """Return as soon as more than `seen` things happened in a group, or when the time is over."""
        with self._lock:
            self._changed_in(group).wait_for(lambda: self.count(group) > seen, seconds)

    def _changed_in(self, group: str) -> threading.Condition:
        return self._changed.setdefault(group, threading.Condition(self._lock))


class RpcSupervisor:
    """The real one. Safe to use from several threads: each has a connection of its own."""

    def __init__(self, address: Path, news: News, stop_patience: float = 60) -> None:
        self._address = address
        self._news = news
        self._patience = stop_patience
        self._local = threading.local()

    def update(self, group: str) -> None:
        self._until_done("update", group)

    def remove(self, group: str) -> None:
        self._until_done("remove", group)

    def start(self, group: str) -> None:
        self._call("slap.start", group)

    def processes(self, group: str) -> list[ProcessInfo]:
        return [_info(answer) for answer in self._call("slap.processes", group)]

    def groups(self) -> list[str]:
        return list(self._call("slap.groups"))

    def pid(self) -> int:
        return int(self._call("supervisor.getPID"))

    def shutdown(self) -> None:
        self._call("supervisor.shutdown")

    def control(self, verb: str, name: str) -> None:
        """startProcess, stopProcess, startProcessGroup or stopProcessGroup, as supervisorctl has them."""
        self._call(f"supervisor.{verb}", name)

    def _until_done(self, verb: str, group: str) -> None:
        """Ask again whenever something ended in the group. One second is for news that got lost, not for the rule."""
        deadline = time.monotonic() + self._patience
        seen = self._news.count(group)
        while running := self._call(f"slap.{verb}", group):
            if time.monotonic() > deadline:
                raise CommandFailed(f"Processes of {group} do not end: {', '.join(running)}.")
            self._news.wait(group, seen, 1.0)
            seen = self._news.count(group)

    def _call(self, method: str, *arguments: Any) -> Any:
        try:
            return self._attempt(method, *arguments)
        except (http.client.HTTPException, ConnectionError):
            self._local.proxy = None  # supervisord closed an idle connection, or was restarted
        except OSError as error:
            raise self._unreachable(error) from error
        try:
            return self._attempt(method, *arguments)
        except (http.client.HTTPException, OSError) as error:
            raise self._unreachable(error) from error

    def _unreachable(self, error: Exception) -> Unreachable:
        self._local.proxy = None
        if isinstance(error, FileNotFoundError):
            return Unreachable("supervisord does not run.", str(self._address), _BOOT)
        return Unreachable("supervisord does not answer.", f"{self._address}: {error}", _BOOT)

    def _attempt(self, method: str, *arguments: Any) -> Any:
        try:
            call: Any = self._proxy()
            for part in method.split("."):
                call = getattr(call, part)
            return call(*arguments)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode == _SHUTDOWN_STATE:
                raise Ending("supervisord is about to end.", str(self._address), _BOOT) from fault
            raise CommandFailed(f"supervisord refused {method}.", fault.faultString) from fault
        except (xmlrpc.client.Error, ExpatError) as error:
            self._local.proxy = None
            raise CommandFailed(f"supervisord answered {method} with nonsense.", str(error)) from error

    def _proxy(self) -> xmlrpc.client.ServerProxy:
        if getattr(self._local, "proxy", None) is None:
            self._local.proxy = xmlrpc.client.ServerProxy("http://localhost", transport=_Transport(self._address))
        return self._local.proxy  # type: ignore[no-any-return]


@dataclass
class FakeSupervisor:
    """Remembers groups; what `outcomes` names is said of the processes of a group once it was updated."""

    outcomes: dict[str, list[ProcessInfo]] = field(default_factory=dict)
    running: dict[str, list[ProcessInfo]] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)

    def update(self, group: str) -> None:
        self.calls.append(f"update {group}")
        self.running[group] = self.outcomes.get(group, [])

    def remove(self, group: str) -> None:
        self.calls.append(f"remove {group}")
        self.running.pop(group, None)

    def start(self, group: str) -> None:
        self.calls.append(f"start {group}")

    def processes(self, group: str) -> list[ProcessInfo]:
        return self.running.get(group, [])

    def groups(self) -> list[str]:
        return sorted(self.running)


@contextmanager
def listen(folder: Path, tell: Callable[[str, str, str], None]) -> Iterator[None]:
    """Call `tell(group, process, event)` for all that happens in supervisord while the block runs."""
    path = folder / f"{os.getpid()}-{threading.get_ident()}.sock"
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(path))
        thread = threading.Thread(target=_receive, args=(receiver, tell), name="supervisor-news", daemon=True)
        thread.start()
        try:
            yield
        finally:
            _wake_to_end(path)
            thread.join(5)
            path.unlink(missing_ok=True)


def answers(address: Path) -> bool:
    """Whether somebody listens on a socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as caller:
        caller.settimeout(5)
        try:
            caller.connect(str(address))
        except OSError:
            return False
        return True


def is_ending(address: Path) -> bool:
    """Whether the supervisord that listens on a socket was told to end."""
    try:
        RpcSupervisor(address, News()).pid()
    except Ending:
        return True
    except SlapError:
        return False
    return False


def announce(folder: Path, group: str, process: str, event: str) -> None:
    """Say something to all that listen, as supervisord does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        for listener in folder.glob("*.sock"):
            with suppress(OSError):
                sender.sendto(f"{group} {process} {event}".encode(), str(listener))


def _receive(receiver: socket.socket, tell: Callable[[str, str, str], None]) -> None:
    while message := receiver.recv(4096):
        words = message.decode(errors="replace").split(" ")
        try:
            if len(words) == 3:
                tell(*words)
        except SlapError:
            log.exception("News of %s were lost.", words[0])


def _wake_to_end(path: Path) -> None:
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"", str(path))


def _info(answer: dict[str, Any]) -> ProcessInfo:
    return ProcessInfo(**{**answer, "state": ProcessState(answer["state"])})


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, address: Path) -> None:
        super().__init__("localhost", timeout=30)
        self._address = address

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(30)
        self.sock.connect(str(self._address))


class _Transport(xmlrpc.client.Transport):
    def __init__(self, address: Path) -> None:
        super().__init__()
        self._address = address

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        if self._connection[1] is None:
            self._connection = host, _UnixConnection(self._address)
        return self._connection[1]  # type: ignore[return-value]


_SHUTDOWN_STATE = 6  # supervisor.xmlrpc.Faults, whose import takes long
_BOOT = "Type `slapos node boot` to start it again."
