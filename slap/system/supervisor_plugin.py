"""Our RPC interface inside supervisord: changes to one group cost what that group costs, and news are pushed.

Supervisor's own way to learn of a new program reads every configuration file again, so that starting N partitions costs
N². Here one group is read from its own file. State changes are sent as datagrams to whoever listens, so nobody polls.
Loaded by `[rpcinterface:slap]` (https://supervisord.org/xmlrpc.html, "Extending the XML-RPC API").
"""

import configparser
import fcntl
import os
import signal
import socket
import sys
import termios
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from supervisor import events
from supervisor.dispatchers import POutputDispatcher
from supervisor.options import UnhosedConfigParser
from supervisor.states import STOPPED_STATES, ProcessStates, SupervisorStates, getProcessStateDescription
from supervisor.xmlrpc import Faults, RPCError

from slap.system.host.launch import load_launch_limits
from slap.system.host.orphans import RUN_MARK, Orphans, become_subreaper
from slap.system.host.proc import PARTITION_MARK, is_suspended

# Of what a program prints, supervisord reads so much at once and then a second.
LOG_BURST_BYTES, LOG_BYTES_PER_SECOND = 20 << 20, 2 << 20
_SLOWED_SECONDS = 60.0  # for which a program counts as slowed
# A process was suspended or slowed, or goes on.
SUSPENSION_EVENT = "ProcessSuspensionEvent"


class GroupInterface:
    """Methods are called by XML-RPC as slap.METHOD; none of them blocks."""

    def __init__(self, supervisord: Any, folder: Path, announcer: "Announcer") -> None:
        self._supervisord = supervisord
        self._folder = folder
        self._announcer = announcer

    def update(self, name: str) -> list[str]:
        """Make a group what its file says; returns the processes that must end first (call again when they have)."""
        self._announcer.catch_up()
        self._refuse_when_ending()
        wanted = self._read(name)
        group = self._supervisord.process_groups.get(name)
        if group is None:
            self._supervisord.add_process_group(wanted)
            return []
        return _converge(group, wanted)

    def remove(self, name: str) -> list[str]:
        """Stop a group and forget it; returns the processes that still run (call again when they have ended)."""
        self._announcer.catch_up()
        group = self._supervisord.process_groups.get(name)
        if group is None:
            return []
        group.stop_all()
        running = [process.config.name for process in group.get_unstopped_processes()]
        if not running:
            self._supervisord.remove_process_group(name)
        return running

    def processes(self, name: str) -> list[dict[str, Any]]:
        """The processes of one group: name, state, pid, exit status, seconds since the start; empty for no group."""
        group = self._supervisord.process_groups.get(name)
        return [_info(process) for process in group.processes.values()] if group else []

    def groups(self) -> list[str]:
        return sorted(self._supervisord.process_groups)

    def start(self, name: str) -> bool:
        """Start what ended or was given up in a group, now and with all of its retries."""
        self._refuse_when_ending()
        group = self._supervisord.process_groups.get(name)
        if group is None:
            raise RPCError(Faults.BAD_NAME, name)
        for process in group.processes.values():
            if process.get_state() in (ProcessStates.FATAL, ProcessStates.BACKOFF) or _ended_early(process):
                process.backoff = 0
                process.spawn()
        return True

    def _refuse_when_ending(self) -> None:
        """Groups are stopped one after the other: what is started in one that was stopped already is never ended."""
        if self._supervisord.options.mood < SupervisorStates.RUNNING:
            raise RPCError(Faults.SHUTDOWN_STATE)

    def _read(self, name: str) -> Any:
        path = self._folder / f"{name}.conf"
        parser = UnhosedConfigParser()
        try:
            parser.read(str(path))
            groups = self._supervisord.options.process_groups_from_parser(parser)
            return next(group for group in groups if group.name == name)
        except (ValueError, StopIteration, OSError, configparser.Error) as error:
            raise RPCError(Faults.FAILED, f"{path}: {error}") from error


def make_interface(supervisord: Any, folder: str, events_folder: str) -> GroupInterface:
    """The factory that supervisord's configuration names."""
    announcer = Announcer(Path(events_folder))
    alarm = Alarm()
    alarm.join(supervisord.options.get_socket_map())
    Launches(supervisord.options, alarm, Path(folder)).subscribe()
    events.subscribe(events.ProcessStateEvent, announcer.announce)
    events.subscribe(events.Tick5Event, lambda event: announcer.catch_up())
    events.subscribe(events.Tick5Event, SuspensionWatch(supervisord, announcer).look)
    return GroupInterface(supervisord, Path(folder), announcer)


class Alarm:
    """Wakes supervisord's loop at each signal, such as that a child ended.

    A process closes its output a moment before it can be reaped. The loop wakes for the former, finds nobody to reap, and
    since PEP 475 sleeps on through the latter: up to a second for each stop. To the loop this is a dispatcher of its own.
    """

    def __init__(self) -> None:
        self.on_signal: Callable[[], object] = lambda: None
        self._receiver, self._sender = socket.socketpair()
        self._receiver.setblocking(False)
        self._sender.setblocking(False)

    def join(self, dispatchers: dict[int, Any]) -> None:
        signal.set_wakeup_fd(self._sender.fileno(), warn_on_full_buffer=False)
        dispatchers[self._receiver.fileno()] = self

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    def handle_read_event(self) -> None:
        self._receiver.recv(4096)
        self.on_signal()

    def handle_error(self) -> None:
        """Nothing was there to read: the loop was woken all the same."""


class Launches:
    """What happens when a partition's program starts and ends: its run is marked and limited, and its orphans end.

    A program that runs once and succeeded may leave something, such as a daemon, until it is run again or stopped.
    """

    def __init__(self, options: Any, alarm: Alarm, folder: Path) -> None:
        become_subreaper()
        self._orphans = Orphans(os.getpid(), lambda: options.pidhistory)
        self._starting: Any = None  # the process, between the event and the fork
        self._leaves = False  # whether something was killed at the last look, which may have had children
        self._alarm = alarm
        self._folder = folder

    def subscribe(self) -> None:
        os.register_at_fork(after_in_parent=self._started, after_in_child=self._prepare)
        events.subscribe(events.ProcessStateEvent, self._changed)
        events.subscribe(events.Tick5Event, lambda event: self._sweep())
        self._alarm.on_signal = self._sweep_again

    def _changed(self, event: Any) -> None:
        process = event.process
        self._starting = None
        if not process.group or PARTITION_MARK not in (process.config.environment or {}):  # the node's own
            return
        program = _name_of(process)
        if isinstance(event, events.ProcessStateStartingEvent):
            self._orphans.begin(program, process.config.uid)
            self._starting = process
        elif isinstance(event, _ENDED) and not _succeeded(process):
            self._orphans.end(program)
            self._sweep()

    def _sweep(self) -> None:
        self._leaves = bool(self._orphans.sweep())

    def _sweep_again(self) -> None:
        """After a signal, which may have told that one of the killed ended: its children are supervisord's now."""
        if self._leaves:
            self._sweep()

    def _started(self) -> None:
        """In supervisord, after the fork."""
        if self._starting is not None:
            outputs = self._starting.dispatchers
            outputs.update(
                {fd: PacedOutput(each) for fd, each in outputs.items() if isinstance(each, POutputDispatcher)}
            )
        self._starting = None

    def _prepare(self) -> None:
        """In the new process, before it gives up its rights: what the run before left holds ports and files."""
        if self._starting is None:
            return
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
            signal.signal(number, signal.SIG_DFL)
        os.setpgrp()  # as supervisord does in a moment: it is stopped as a group
        run = self._orphans.running(_name_of(self._starting))
        self._starting.config.environment[RUN_MARK] = run.mark  # of this copy of supervisord alone
        self._orphans.wait(run)
        self._limit(self._starting.config)

    def _limit(self, config: Any) -> None:
        """A program whose limits cannot be set is not started: without them it could take the computer."""
        partition = Path(config.environment[PARTITION_MARK]).name
        try:
            load_launch_limits(self._folder / f"{partition}.limits").apply()
        except (OSError, ValueError, TypeError) as error:
            config.options.logger.error(f"{config.name}: limits of {partition} cannot be set: {error}")
            os._exit(126)


class PacedOutput:
    """What a program prints, of which so much is read a second: more waits in the pipe, and the program with it.

    A program that prints without end would have supervisord do nothing but read and rotate logs for it.
    """

    def __init__(self, dispatcher: Any, now: Callable[[], float] = time.monotonic) -> None:
        self._dispatcher = dispatcher
        self.writable = dispatcher.writable  # asked of each program whenever supervisord's loop wakes
        self._now = now
        self._left, self._at, self._slowed_at = float(LOG_BURST_BYTES), now(), float("-inf")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._dispatcher, name)

    def readable(self) -> bool:
        return (self._left == LOG_BURST_BYTES or self._has_left()) and bool(self._dispatcher.readable())

    def _has_left(self) -> bool:
        now = self._now()
        self._left = min(float(LOG_BURST_BYTES), self._left + (now - self._at) * LOG_BYTES_PER_SECOND)
        self._at = now
        if self._left <= 0:
            self._slowed_at = now
        return self._left > 0

    def handle_read_event(self) -> None:
        if self._left == LOG_BURST_BYTES:
            self._at = self._now()
        self._left -= int.from_bytes(fcntl.ioctl(self._dispatcher.fd, termios.FIONREAD, bytes(4)), sys.byteorder)
        self._dispatcher.handle_read_event()

    def is_slowed(self) -> bool:
        """Whether it had to wait lately."""
        return self._now() < self._slowed_at + _SLOWED_SECONDS


# A service is over when its process ended, whatever follows.
_ENDED = (
    events.ProcessStateExitedEvent,
    events.ProcessStateBackoffEvent,
    events.ProcessStateFatalEvent,
    events.ProcessStateStoppedEvent,
    events.ProcessStateUnknownEvent,
)

# What is kept for a listener that does not listen; one that is further behind asks for the state anyway.
_MOST_KEPT = 10_000


class Announcer:
    """Tells each socket in a folder what happened: `GROUP PROCESS EVENT`.

    Linux queues as few as ten datagrams for a listener, and a hundred services that end at once are more than that. What
    does not fit waits here, and is sent with the next event, call or tick.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._kept: dict[Path, deque[bytes]] = {}

    def announce(self, event: Any) -> None:
        group = event.process.group.config.name if event.process.group else ""
        self.send(group, event.process.config.name, type(event).__name__)

    def send(self, group: str, process: str, event: str) -> None:
        text = f"{group} {process} {event}"
        for listener in self._folder.glob("*.sock"):
            self._kept.setdefault(listener, deque(maxlen=_MOST_KEPT)).append(text.encode())
        self.catch_up()

    def catch_up(self) -> None:
        """Send what waits for listeners that were full."""
        self._kept = {listener: kept for listener, kept in self._kept.items() if self._send(kept, listener)}

    def _send(self, messages: deque[bytes], listener: Path) -> bool:
        """Whether something has to wait."""
        try:
            while messages:
                self._socket.sendto(messages[0], str(listener))
                messages.popleft()
        except BlockingIOError:
            return True
        except ConnectionRefusedError:
            with suppress(OSError):
                listener.unlink()
        except OSError:
            return False  # it is just gone
        return False


class SuspensionWatch:
    """Announces processes that were suspended by a signal, whose output is slowed, or that go on again.

    The kernel tells a parent nothing of the former unless it asks, so each look reads one short file a process.
    """

    def __init__(self, supervisord: Any, announcer: Announcer) -> None:
        self._supervisord = supervisord
        self._announcer = announcer
        self._suspended: frozenset[tuple[str, str]] = frozenset()

    def look(self, event: Any) -> None:
        suspended = frozenset(
            (group, process.config.name)
            for group, each in self._supervisord.process_groups.items()
            for process in each.processes.values()
            if process.pid and (is_suspended(process.pid) or _is_slowed(process))
        )
        for group, name in suspended ^ self._suspended:
            self._announcer.send(group, name, SUSPENSION_EVENT)
        self._suspended = suspended


def _converge(group: Any, wanted: Any) -> list[str]:
    new = {config.name: config for config in wanted.process_configs}
    changed = [p for name, p in group.processes.items() if name not in new or p.config != new[name]]
    running = [process for process in changed if process.get_state() not in STOPPED_STATES]
    for process in running:
        _stop(process)
    if running:
        return [process.config.name for process in running]
    _replace(group, changed, new)
    group.config = wanted
    return []


def _stop(process: Any) -> None:
    if process.get_state() in (ProcessStates.RUNNING, ProcessStates.STARTING):
        process.stop()
    elif process.get_state() == ProcessStates.BACKOFF:
        process.give_up()


def _replace(group: Any, changed: list[Any], new: dict[str, Any]) -> None:
    for process in changed:
        del group.processes[process.config.name]
    for name in new.keys() - group.processes.keys():
        new[name].create_autochildlogs()
        group.processes[name] = new[name].make_process(group)


def _ended_early(process: Any) -> bool:
    """What was stopped by hand, or failed; a program that runs once and succeeded is left alone."""
    state = process.get_state()
    return bool(state == ProcessStates.STOPPED or (state == ProcessStates.EXITED and process.exitstatus != 0))


def _name_of(process: Any) -> str:
    return f"{process.group.config.name}:{process.config.name}"


def _succeeded(process: Any) -> bool:
    """Whether a program that runs once ended well."""
    once = not process.config.autorestart
    return bool(once and process.get_state() == ProcessStates.EXITED and process.exitstatus == 0)


def _is_slowed(process: Any) -> bool:
    return any(isinstance(each, PacedOutput) and each.is_slowed() for each in process.dispatchers.values())


def _info(process: Any) -> dict[str, Any]:
    return {
        "name": process.config.name,
        "state": getProcessStateDescription(process.get_state()),
        "pid": process.pid,
        "status": -1 if process.exitstatus is None else process.exitstatus,
        "error": process.spawnerr or "",
        "started": float(process.laststart),
        "is_suspended": bool(process.pid) and is_suspended(process.pid),
        "is_slowed": _is_slowed(process),
    }
