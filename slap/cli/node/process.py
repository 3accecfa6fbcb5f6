"""`slapos node status|start|stop|restart|tail`: the processes of the partitions, by hand."""

import argparse
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import ClassVar

from slap.cli.base import Lister
from slap.cli.local import NodeCommand, find_cfg
from slap.cli.output import Style, duration, harmless, say
from slap.model.errors import NotFound, UsageError
from slap.node.core.config import NodeConfig, read
from slap.node.core.store import Store
from slap.node.partition.supervision import connect, is_running, partition_of
from slap.node.usage.store import UsageStore
from slap.system import files
from slap.system.supervisor import News, ProcessInfo, ProcessState, RpcSupervisor


class NodeStatus(Lister):
    """Show the processes of the partitions."""

    def get_parser(self, name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(name)
        parser.add_argument("process", nargs="*", default=["all"], help=_WHICH)
        return parser

    def take_action(self, args: argparse.Namespace) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        config = read(find_cfg(args.cfg or "", self.folder))
        supervisor = connect(config, News())
        if not is_running(supervisor):
            say("supervisord does not run. Next: slapos node boot", Style.BAD)
            return _COLUMNS, []
        references = {each.partition: each.reference for each in Store(config.store_file).instances()}
        now = self.clock.now().timestamp()
        found = [each for words in args.process for each in find(supervisor, words, may_be_none=True)]
        reached = _reached(config)
        rows = [
            (*_row(group, process, now, references), reached.get(group, "")) for group, process in dict.fromkeys(found)
        ]
        if "all" in args.process:  # builds, and partitions in which all was stopped
            others = sorted(reached.keys() - {group for group, _ in found})
            rows += [(name, "", "", "", "", references.get(name, ""), reached[name]) for name in others]
        return _COLUMNS, rows


class _Control(NodeCommand):
    """Something that supervisord does to a process or to all of a partition."""

    verbs: ClassVar[tuple[str, ...]]

    def get_parser(self, name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(name)
        parser.add_argument("process", nargs="+", help=_WHICH)
        return parser

    def take_action(self, args: argparse.Namespace) -> None:
        """All names are looked up before anything is done to one of them."""
        supervisor = connect(self.config(args), News())
        found = dict.fromkeys(each for words in args.process for each in find(supervisor, words))
        for verb in self.verbs:
            for group, process in found:
                self._control(supervisor, verb, group, process)
        for group in dict.fromkeys(group for group, _ in found):
            for each in supervisor.processes(group):
                self.app.stdout.write(f"{group}:{each.name} {each.state}\n")

    def _control(self, supervisor: RpcSupervisor, verb: str, group: str, process: ProcessInfo) -> None:
        """Nothing is to be done about what is as it shall be; supervisord would call that a mistake."""
        runs = verb in self.verbs[:1] and (process.state.is_alive or process.state is ProcessState.BACKOFF)
        if runs == (verb == "stopProcess"):
            supervisor.control(verb, f"{group}:{process.name}")


class NodeStart(_Control):
    """Start processes of a partition."""

    verbs = ("startProcess",)


class NodeStop(_Control):
    """Stop processes of a partition, until they are started again or the partition is processed anew."""

    verbs = ("stopProcess",)


class NodeRestart(_Control):
    """Restart processes of a partition."""

    verbs = ("stopProcess", "startProcess")


class NodeTail(NodeCommand):
    """Show the last lines of what a process said."""

    def get_parser(self, name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(name)
        parser.add_argument("process", metavar="PARTITION:PROCESS")
        parser.add_argument("stream", nargs="?", choices=("stdout", "stderr"), help="both are in one log")
        parser.add_argument("-n", "--lines", type=int, default=50, help="how many (50)")
        parser.add_argument("-f", "--follow", action="store_true", help="go on with what comes")
        return parser

    def take_action(self, args: argparse.Namespace) -> None:
        path = _log(self.config(args), args.process)
        self.app.stdout.write(harmless(files.tail(path, args.lines)) + "\n")
        while args.follow:
            for line in _news(path):
                self.app.stdout.write(harmless(line))
            self.app.stdout.flush()


_WHICH = "PARTITION, PARTITION:PROCESS, or all"
# SlapOS adds this to the names of services.
_WATCHED = "-on-watch"
_COLUMNS: tuple[str, ...] = ("Partition", "Process", "State", "PID", "Up", "Service", "Limits reached")


def find(supervisor: RpcSupervisor, words: str, may_be_none: bool = False) -> list[tuple[str, ProcessInfo]]:
    """The processes that are meant by PARTITION, PARTITION:PROCESS, PARTITION:* or all, with their groups."""
    group, _, name = words.partition(":")
    if words == "all":
        return [(each, process) for each in supervisor.groups() for process in supervisor.processes(each)]
    processes = supervisor.processes(group)
    if not processes and not may_be_none:
        groups = ", ".join(supervisor.groups()) or "none"
        raise NotFound(f"Nothing is supervised in {group}.", f"There are: {groups}.", "slapos node status")
    if name in ("", "*", "all"):
        return [(group, process) for process in processes]
    found = [(group, each) for each in processes if each.name in (name, name.removesuffix(_WATCHED))]
    if not found and not may_be_none:
        known = ", ".join(each.name for each in processes)
        raise NotFound(f"{group} has no process {name}.", f"It has: {known}.", "slapos node status")
    return found


def _row(group: str, process: ProcessInfo, now: float, references: Mapping[str, str]) -> tuple[str, ...]:
    pid, up = str(process.pid or ""), _up(process, now)
    return group, process.name, process.state.value, pid, up, references.get(partition_of(group), "")


def _reached(config: NodeConfig) -> dict[str, str]:
    """By partition, which of its limits were reached, and how often since it was empty."""
    found = UsageStore(config.usage_file).reached()
    return {name: ", ".join(f"{limit} {times}" for limit, times in counts.items()) for name, counts in found.items()}


def _up(process: ProcessInfo, now: float) -> str:
    return duration(max(0.0, now - process.started)) if process.state.is_alive else ""


def _log(config: NodeConfig, words: str) -> Path:
    partition, _, process = words.partition(":")
    if not process or "/" in words or partition.startswith("."):
        raise UsageError(f"{words!r} is not PARTITION:PROCESS.", resolution="slapos node status")
    path = config.partition_logs / partition_of(partition) / f"{process.removesuffix(_WATCHED)}.log"
    if not path.exists():
        raise NotFound(f"{words} has no log.", f"{path} does not exist.", "slapos node status")
    return path


def _news(path: Path) -> Iterable[str]:
    """What is written into a file from now on, until it is rotated."""
    with path.open(errors="replace") as file:
        file.seek(0, 2)
        inode = path.stat().st_ino
        while path.exists() and path.stat().st_ino == inode:
            line = file.readline()
            if line:
                yield line
            else:
                time.sleep(0.2)
