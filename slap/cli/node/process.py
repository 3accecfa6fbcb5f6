"""`slapos node status|start|stop|restart|tail`: the processes of the partitions, by hand."""

import argparse
import time
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from slap.cli.base import Lister
from slap.cli.local import NodeCommand, find_cfg
from slap.cli.output import Style, duration, harmless, say
from slap.model.errors import NotFound, UsageError
from slap.node.config import NodeConfig, read
from slap.node.partition.supervision import connect, is_running
from slap.node.store import Store
from slap.system import files
from slap.system.supervisor import News, ProcessInfo, RpcSupervisor


class NodeStatus(Lister):
    """Show the processes of the partitions."""

    def take_action(self, args: argparse.Namespace) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        config = read(find_cfg(args.cfg or "", self.folder))
        supervisor = connect(config, News())
        if not is_running(supervisor):
            say("supervisord does not run. Next: slapos node boot", Style.BAD)
            return _COLUMNS, []
        references = {each.partition: each.reference for each in Store(config.store_file).instances()}
        now = self.clock.now().timestamp()
        rows: list[tuple[str, ...]] = [
            (
                group,
                process.name,
                process.state.value,
                str(process.pid or ""),
                _up(process, now),
                references.get(group, ""),
            )
            for group in supervisor.groups()
            for process in supervisor.processes(group)
        ]
        return _COLUMNS, rows


class _Control(NodeCommand):
    """Something that supervisord does to a process or to all of a partition."""

    verbs: ClassVar[tuple[str, ...]]

    def get_parser(self, name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(name)
        parser.add_argument("process", metavar="PARTITION[:PROCESS]")
        return parser

    def take_action(self, args: argparse.Namespace) -> None:
        supervisor = connect(self.config(args), News())
        partition, _, process = args.process.partition(":")
        if process == "all":
            process = ""
        _check(supervisor, partition, process)
        for verb in self.verbs:
            method, name = (verb, args.process) if process else (f"{verb}Group", partition)
            supervisor.control(method, name)
        for each in supervisor.processes(partition):
            self.app.stdout.write(f"{partition}:{each.name} {each.state}\n")


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


_COLUMNS: tuple[str, ...] = ("Partition", "Process", "State", "PID", "Up", "Service")


def _up(process: ProcessInfo, now: float) -> str:
    return duration(max(0.0, now - process.started)) if process.state.is_alive else ""


def _check(supervisor: RpcSupervisor, partition: str, process: str) -> None:
    known = [each.name for each in supervisor.processes(partition)]
    if not known:
        groups = ", ".join(supervisor.groups()) or "none"
        raise NotFound(f"Nothing is supervised in {partition}.", f"There are: {groups}.", "slapos node status")
    if process and process not in known:
        raise NotFound(f"{partition} has no process {process}.", f"It has: {', '.join(known)}.", "slapos node status")


def _log(config: NodeConfig, words: str) -> Path:
    partition, _, process = words.partition(":")
    if not process or "/" in words or partition.startswith("."):
        raise UsageError(f"{words!r} is not PARTITION:PROCESS.", resolution="slapos node status")
    path = config.partition_logs / partition / f"{process}.log"
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
