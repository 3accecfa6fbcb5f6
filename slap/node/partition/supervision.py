"""The node's supervisord: its configuration, a group a partition, starting and stopping it."""

import logging
import os
import re
import shlex
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

from slap.model.errors import CommandFailed, InvalidInput, Unreachable
from slap.node.core.config import NodeConfig
from slap.node.core.store import Installed
from slap.node.partition.slapos_links import link_layout
from slap.system import environment, files, process
from slap.system.processes import (
    NODE_MARK,
    PARTITION_MARK,
    Mark,
    allow_many_files,
    ancestors_of,
    end_marked,
    is_descendant,
    wait_for_end,
)
from slap.system.supervisor import News, RpcSupervisor

log = logging.getLogger(__name__)

# Services get ten seconds to end before they are killed.
_SHUTDOWN_PATIENCE = 30.0
# Seconds until a killed supervisord is gone; the number may be another process's by now, which goes on.
_DEATH_PATIENCE = 2.0

_MAIN = """\
; Made by `slapos node`. One file a partition lies in {folder}.
[unix_http_server]
file = {socket}
chmod = 0700

[supervisord]
logfile = {log}/supervisord.log
logfile_maxbytes = 10MB
logfile_backups = 3
pidfile = {run}/supervisord.pid
childlogdir = {log}
nodaemon = true
silent = true
; Descriptors that a new process closes one by one; ours close themselves when a program is started.
minfds = 64

[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface

[rpcinterface:slap]
supervisor.rpcinterface_factory = slap.system.supervisor_plugin:make_interface
folder = {folder}
events_folder = {events}

[supervisorctl]
serverurl = unix://{socket}

[include]
files = {folder}/*.conf
"""

_PROGRAM = """
[program:{group}.{name}]
process_name = {name}
command = {command}
directory = {directory}
autorestart = {autorestart}
startsecs = {startsecs}
startretries = {startretries}
stopwaitsecs = {stopwaitsecs}
stopasgroup = {as_group}
killasgroup = true
redirect_stderr = true
stdout_logfile = {log}
stdout_logfile_maxbytes = {log_bytes}
stdout_logfile_backups = 3
umask = {umask}
environment = {environment}
{user}"""


# A quote ends a value of `environment`; a ; or # after white space begins a comment.
_UNFIT = re.compile(r"[\"\x00-\x1f\x7f-\x9f\u2028\u2029]|(?:^|\s)[;#]|^\s|\s$")
# Of a program's log, which is kept four times. More programs than so many share what that many may have; by halves, for
# supervisord restarts whatever has another limit.
_MAX_LOG_BYTES, _MANY_PROGRAMS = 10 << 20, 100
_WORD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@+-]*")
FORWARDER_SUFFIX = "-socat"
REMOVAL_SUFFIX = "-prerm"


@dataclass(frozen=True)
class Program:
    """A supervised program; a new `digest` restarts it."""

    name: str
    argv: tuple[str, ...]
    log: Path
    directory: Path
    environment: dict[str, str]
    user: str = ""
    once: bool = False
    as_group: bool = True
    patience: int = 10  # seconds that it may take to end before it is killed
    umask: str = "077"
    # After each start that fails supervisord waits one second longer; after so many it gives the program up.
    retries: int = 3


def group_text(group: str, programs: list[Program]) -> str:
    """The configuration file of a group."""
    names = ",".join(f"{_word(group)}.{_word(program.name)}" for program in programs)
    log_bytes = _MAX_LOG_BYTES >> (max(0, len(programs) - 1) // _MANY_PROGRAMS).bit_length()
    texts = (_program_text(group, program, log_bytes) for program in programs)
    return f"[group:{group}]\nprograms = {names}\n" + "".join(texts)


def partition_programs(config: NodeConfig, partition: str, user: str, installed: Installed) -> list[Program]:
    """The programs that an instantiation installed."""
    runs = (_partition_program(config, partition, user, each, once=True) for each in installed.runs.items())
    services = (_partition_program(config, partition, user, each, once=False) for each in installed.services.items())
    patience = installed.patience
    return [*runs, *(replace(each, patience=patience.get(each.name, each.patience)) for each in services)]


def partition_environment(config: NodeConfig, partition: str, user: str = "") -> dict[str, str]:
    """The environment of all programs of a partition."""
    home = config.partition(partition)
    own = {"TMPDIR": str(home / "tmp"), NODE_MARK: str(config.root), PARTITION_MARK: str(home)}
    return environment.bare(home, {**own, **({"USER": user, "LOGNAME": user} if user else {})})


def ensure_running(config: NodeConfig, supervisor: RpcSupervisor) -> bool:
    """Start supervisord unless it runs; returns whether it was started.

    What a killed one left behind is ended first: it would run twice, hold ports, and belong to nobody.
    """
    with files.exclusive(config.run / "supervisord.lock"):
        if is_running(supervisor):
            return False
        _make_way(config)
        argv, marked = configure(config)
        (config.supervisor_socket).unlink(missing_ok=True)
        pid = process.start_daemon(argv, marked, config.root, config.log / "supervisord.out")
        allow_many_files(pid)  # three for each service
        log.info("supervisord was started")
        deadline = time.monotonic() + 20
        while not is_running(supervisor):
            if time.monotonic() > deadline:
                said = files.tail(config.log / "supervisord.out", 5) + files.tail(config.log / "supervisord.log", 5)
                raise CommandFailed("supervisord does not start.", said, f"Look into {config.log}/supervisord.log.")
            time.sleep(0.01)
        return True


def become_supervisord(config: NodeConfig) -> NoReturn:
    """Replace this process by supervisord. Only when none runs: it ends what a previous one left."""
    _make_way(config)
    argv, marked = configure(config)
    config.supervisor_socket.unlink(missing_ok=True)
    allow_many_files(os.getpid())
    process.become(argv, marked)


def _make_way(config: NodeConfig) -> None:
    # A supervisord that was killed stops answering a moment before its children lose their parent.
    former = files.read_or(config.run / "supervisord.pid", "").strip()
    if former.isdecimal():
        wait_for_end(int(former), _DEATH_PATIENCE)
    mine = ancestors_of(os.getpid())
    end_marked(Mark(NODE_MARK, str(config.root)), spare=lambda pid: pid in mine or is_descendant(pid, os.getpid()))


def shut_down(config: NodeConfig) -> bool:
    """End supervisord and all its programs, also escaped ones; returns whether any ran."""
    supervisor = connect(config, News())
    ran = is_running(supervisor)
    if ran:
        pid = supervisor.pid()
        supervisor.shutdown()
        wait_for_end(pid, _SHUTDOWN_PATIENCE)
    mine = ancestors_of(os.getpid())
    return bool(end_marked(Mark(NODE_MARK, str(config.root)), spare=lambda each: each in mine)) or ran


def is_running(supervisor: RpcSupervisor) -> bool:
    try:
        return supervisor.pid() > 0
    except Unreachable:
        return False


def connect(config: NodeConfig, news: News) -> RpcSupervisor:
    return RpcSupervisor(config.supervisor_socket, news)


def _partition_program(
    config: NodeConfig, partition: str, user: str, executable: tuple[str, str], *, once: bool
) -> Program:
    name, digest = executable
    home = config.partition(partition)
    return Program(
        name=name,
        argv=(str(home / ("etc/run" if once else "etc/service") / name),),
        log=config.partition_logs / partition / f"{name}.log",
        directory=home,
        environment={**partition_environment(config, partition, user), "SLAPOS_EXECUTABLE": digest},
        user=user,
        once=once,
    )


def _program_text(group: str, program: Program, log_bytes: int) -> str:
    return _PROGRAM.format(
        group=group,
        name=program.name,
        command=_value(shlex.join(map(_plain, program.argv)), is_quoted=True),
        directory=_value(str(program.directory)),
        autorestart="false" if program.once else "true",
        startsecs=0 if program.once else 1,
        startretries=program.retries,
        stopwaitsecs=program.patience,
        as_group="true" if program.as_group else "false",
        log=_value(_value(str(program.log))),  # supervisord expands this one twice
        log_bytes=log_bytes,
        umask=program.umask,
        environment=",".join(f'{_word(name)}="{_value(value)}"' for name, value in sorted(program.environment.items())),
        user=f"user = {_word(program.user)}\n" if program.user else "",
    )


def _value(text: str, *, is_quoted: bool = False) -> str:
    """A value for supervisord's configuration, with % escaped. Raises InvalidInput for one that cannot be."""
    return (text if is_quoted else _plain(text)).replace("%", "%%")


def _plain(text: str) -> str:
    if found := _UNFIT.search(text):
        raise InvalidInput(
            f"{text[:200]!r} cannot stand in supervisord's configuration.",
            f"It has {found[0]!r}, by which supervisord would read something else.",
            "Leave quotes, line ends, control characters, and ; and # after a space out of names and paths.",
        )
    return text


def _word(text: str) -> str:
    """A name, or a list of names, checked for supervisord's configuration."""
    if not _WORD.fullmatch(text):
        raise InvalidInput(f"{text[:200]!r} is no name that supervisord's configuration can have.")
    return text


def configuration_file(config: NodeConfig) -> Path:
    return config.root / "etc/supervisord.conf"


def configure(config: NodeConfig) -> tuple[list[str], dict[str, str]]:
    """Write supervisord's configuration; returns its command line and environment."""
    text = _MAIN.format(
        folder=_value(str(config.supervisor_folder)),
        socket=_value(str(config.supervisor_socket)),
        log=_value(str(config.log)),
        run=_value(str(config.run)),
        events=_value(str(config.events)),
    )
    files.write(configuration_file(config), text)
    link_layout(config)
    argv = [str(environment.own_program("supervisord")), "-c", str(configuration_file(config))]
    return argv, environment.bare(config.root, {NODE_MARK: str(config.root)})


def partition_of(group: str) -> str:
    """The partition that a group of supervised processes belongs to."""
    return group.removesuffix(FORWARDER_SUFFIX).removesuffix(REMOVAL_SUFFIX)
