"""A real supervisord with our plugin: groups converge one by one, nothing is polled, and nothing is left behind."""

import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from slap.model.errors import CommandFailed
from slap.node.core.config import NodeConfig, default_root
from slap.node.partition.supervision import Program, ensure_running, group_text, shut_down
from slap.system import environment, files
from slap.system.processes import NODE_MARK, PARTITION_MARK, is_alive
from slap.system.supervisor import News, ProcessInfo, ProcessState, RpcSupervisor, listen
from tests.system.cloud import eventually

RUNNING, FATAL, EXITED = ProcessState.RUNNING, ProcessState.FATAL, ProcessState.EXITED
SLEEP = "exec sleep 1000"


@dataclass
class Room:
    """A supervisord, and what was heard of it."""

    config: NodeConfig
    news: News = field(default_factory=News)
    heard: list[tuple[str, ...]] = field(default_factory=list)
    pause: Callable[[], object] = lambda: None  # before each piece of news is heard

    def __post_init__(self) -> None:
        self.supervisor = RpcSupervisor(self.config.supervisor_socket, self.news)

    def hear(self, group: str, process: str, event: str) -> None:
        self.pause()
        self.heard.append((group, process, event.removeprefix("ProcessState").removesuffix("Event")))
        self.news.tell(group)

    def write(self, group: str, scripts: Mapping[str, str], *, once: bool = False) -> None:
        """Let a group have a shell script for each of its processes."""
        env = {"PATH": environment.CLEAN_PATH, NODE_MARK: str(self.config.root), PARTITION_MARK: f"/{group}"}
        programs = [
            Program(name, ("/bin/sh", "-c", script), self.config.log / f"{name}.log", self.config.root, env, once=once)
            for name, script in scripts.items()
        ]
        files.write(self.config.supervisor_folder / f"{group}.conf", group_text(group, programs))

    def update(self, group: str, *, once: bool = False, **scripts: str) -> None:
        self.write(group, scripts, once=once)
        self.supervisor.update(group)

    def processes(self, group: str) -> dict[str, ProcessInfo]:
        return {each.name: each for each in self.supervisor.processes(group)}

    def wait(self, group: str, process: str, state: ProcessState) -> ProcessInfo:
        eventually(lambda: self.processes(group)[process].state is state, 20)
        return self.processes(group)[process]


@pytest.fixture(scope="module")
def room() -> Iterator[Room]:
    folder = Path(tempfile.mkdtemp(prefix="slap-", dir="/tmp"))
    config = NodeConfig(**default_root(folder))
    config.make_folders()
    made = Room(config)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder)
        stack.callback(shut_down, config)
        stack.enter_context(listen(config.events, made.hear))
        assert ensure_running(config, made.supervisor)
        yield made


def test_it_is_started_once(room: Room) -> None:
    before = room.supervisor.pid()
    assert not ensure_running(room.config, room.supervisor)
    assert room.supervisor.pid() == before


def test_only_what_changed_is_restarted(room: Room) -> None:
    room.update("g1", a=SLEEP, b=SLEEP)
    a, b = (room.wait("g1", name, RUNNING).pid for name in "ab")
    room.update("g1", a=SLEEP, b=f"true; {SLEEP}", c=SLEEP)
    assert room.wait("g1", "a", RUNNING).pid == a
    assert room.wait("g1", "b", RUNNING).pid != b
    assert not is_alive(b)
    room.wait("g1", "c", RUNNING)
    room.update("g1", a=SLEEP)
    assert list(room.processes("g1")) == ["a"]
    room.update("g1", a=SLEEP)
    assert room.processes("g1")["a"].pid == a


def test_a_group_does_not_touch_another(room: Room) -> None:
    room.update("g2", a=SLEEP)
    a = room.wait("g2", "a", RUNNING).pid
    room.update("g3", a=SLEEP)
    room.supervisor.remove("g3")
    assert room.processes("g2")["a"].pid == a
    assert "g3" not in room.supervisor.groups()


def test_removing_waits_until_all_is_gone(room: Room) -> None:
    """Also for one that takes its time to say good-bye, and for what it had started."""
    room.update("g4", slow="trap 'sleep 0.4; exit 0' TERM; sleep 1000 & wait", fast=SLEEP)
    pids = [room.wait("g4", name, RUNNING).pid for name in ("slow", "fast")]
    room.supervisor.remove("g4")
    assert [is_alive(pid) for pid in pids] == [False, False]
    assert (room.supervisor.processes("g4"), "g4" in room.supervisor.groups()) == ([], False)
    room.supervisor.remove("g4")


def test_news_arrive_without_asking(room: Room) -> None:
    room.update("g5", a="sleep 1.2; exit 3")
    eventually(lambda: ("g5", "a", "Exited") in room.heard, 20)
    events = [event for group, _, event in room.heard if group == "g5"]
    assert events[:3] == ["Starting", "Running", "Exited"]


def test_a_burst_of_news_is_heard_to_its_end(room: Room) -> None:
    """More at once than the kernel queues, while whoever listens is busy."""
    busy = threading.Event()
    room.pause = lambda: busy.wait(0.2)
    groups = [f"burst{number}" for number in range(20)]
    for group in groups:
        room.write(group, {"a": "exit 0", "b": "exit 0"}, once=True)
    for group in groups:
        room.supervisor.update(group)
    busy.set()
    wanted = {(group, name, "Exited") for group in groups for name in "ab"}
    eventually(lambda: wanted <= set(room.heard), 20)
    for group in groups:
        room.supervisor.remove(group)


def test_what_does_not_stay_up_is_given_up_until_it_is_started_again(room: Room) -> None:
    flag = room.config.root / "may-live"
    room.update("g6", a=f"test -e {flag} && {SLEEP}; exit 1", b=SLEEP)
    b = room.wait("g6", "b", RUNNING).pid
    room.wait("g6", "a", FATAL)
    flag.touch()
    room.supervisor.start("g6")
    room.wait("g6", "a", RUNNING)
    assert room.processes("g6")["b"].pid == b


def test_a_service_is_starting_until_it_stayed_up_for_a_second(room: Room) -> None:
    room.update("g7", a=SLEEP)
    started = time.time()
    assert room.processes("g7")["a"].state in (ProcessState.STARTING, ProcessState.STOPPED)
    info = room.wait("g7", "a", RUNNING)
    assert time.time() - started > 0.8
    assert abs(info.started - started) < 1.5


def test_a_service_that_ends_is_started_again_and_a_program_is_not(room: Room) -> None:
    room.update("g8", service="sleep 1.1; exit 0")
    first = room.wait("g8", "service", RUNNING).pid
    eventually(lambda: room.processes("g8")["service"].pid not in (0, first), 20)
    room.update("g9", once=True, program="exit 0")
    info = room.wait("g9", "program", EXITED)
    assert info.status == 0
    room.supervisor.start("g9")
    assert room.processes("g9")["program"].state is EXITED


@pytest.mark.parametrize(
    "text", ["", "nonsense", "[group:bad]\nprograms = nowhere\n", "[program:x]\ncommand = x\n" * 2]
)
def test_a_broken_file_is_refused_and_hurts_nobody(room: Room, text: str) -> None:
    room.update("g10", a=SLEEP)
    pid = room.wait("g10", "a", RUNNING).pid
    path = room.config.supervisor_folder / "bad.conf"
    path.write_text(text)
    with pytest.raises(CommandFailed, match="refused"):
        room.supervisor.update("bad")
    path.unlink()
    assert room.processes("g10")["a"].pid == pid


def test_nothing_is_known_of_a_group_that_is_not_there(room: Room) -> None:
    assert room.supervisor.processes("nobody") == []
    with pytest.raises(CommandFailed):
        room.supervisor.start("nobody")


def test_killed_it_is_started_with_the_same_groups_and_without_orphans(room: Room) -> None:
    room.update("g11", a=SLEEP)
    orphan = room.wait("g11", "a", RUNNING).pid
    os.kill(room.supervisor.pid(), 9)
    eventually(lambda: ensure_running(room.config, room.supervisor), 20)
    assert not is_alive(orphan)
    assert room.wait("g11", "a", RUNNING).pid != orphan


def test_a_process_that_is_suspended_is_announced_and_shown(room: Room) -> None:
    room.update("suspended", web=SLEEP)
    pid = room.wait("suspended", "web", RUNNING).pid
    os.kill(pid, signal.SIGSTOP)
    eventually(lambda: ("suspended", "web", "ProcessSuspension") in room.heard, 20)
    assert room.processes("suspended")["web"].is_suspended
    os.kill(pid, signal.SIGCONT)
    eventually(lambda: room.heard.count(("suspended", "web", "ProcessSuspension")) == 2, 20)
    assert not room.processes("suspended")["web"].is_suspended
    room.supervisor.remove("suspended")
