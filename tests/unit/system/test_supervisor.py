"""News from supervisord reach whom they concern, also those that come faster than they are heard."""

import os
import socket
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from slap.model.errors import CommandFailed, Unreachable
from slap.system.supervisor import News, RpcSupervisor, announce, listen
from slap.system.supervisor_plugin import LOG_BURST_BYTES, LOG_BYTES_PER_SECOND, Announcer, PacedOutput


class Output:
    """A dispatcher of supervisord's for one end of a pipe, and what was read from it."""

    channel = "stdout"

    def __init__(self, fd: int) -> None:
        self.fd, self.size = fd, 0

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    def handle_read_event(self) -> None:
        self.size += len(os.read(self.fd, 1 << 20))


def test_a_program_that_prints_without_end_waits(monotonic: list[float]) -> None:
    reader, writer = os.pipe()
    output = Output(reader)
    paced = PacedOutput(output, lambda: monotonic[0])

    def print_all(most: int) -> int:
        before = output.size
        while paced.readable() and output.size - before < most:
            os.write(writer, bytes(1 << 15))
            paced.handle_read_event()
        return output.size - before

    assert print_all(1 << 20) == 1 << 20
    assert not paced.is_slowed()
    assert print_all(1 << 30) == LOG_BURST_BYTES - (1 << 20)
    assert paced.is_slowed()
    monotonic[0] += 1
    assert print_all(1 << 30) == LOG_BYTES_PER_SECOND
    monotonic[0] += 100
    assert not paced.is_slowed()
    assert paced.channel == "stdout"
    os.close(reader)
    os.close(writer)


@pytest.fixture
def monotonic() -> list[float]:
    """A clock that stands still, of one element."""
    return [1000.0]


def test_nobody_misses_what_came_too_early() -> None:
    news = News()
    seen = news.count("a")
    news.tell("a")
    waiting = threading.Thread(target=news.wait, args=("a", seen, 60))
    waiting.start()
    waiting.join(30)
    assert not waiting.is_alive()


def test_who_waits_is_woken_by_its_own_group_alone() -> None:
    news, woken = News(), threading.Event()

    def wait() -> None:
        news.wait("a", 0, 5)
        woken.set()

    thread = threading.Thread(target=wait)
    thread.start()
    news.tell("b")
    assert not woken.wait(0.03)
    news.tell("a")
    assert woken.wait(5)
    thread.join()


def test_what_is_announced_is_heard(tmp_path: Path) -> None:
    heard: list[tuple[str, ...]] = []
    with listen(tmp_path, lambda *words: heard.append(words)):
        announce(tmp_path, "slappart0", "web", "ProcessStateExitedEvent")
        announce(tmp_path, "slappart0", "we b", "malformed")
        announce(tmp_path, "*", "pass", "asked")
        until(lambda: len(heard) == 2)
    assert heard == [("slappart0", "web", "ProcessStateExitedEvent"), ("*", "pass", "asked")]
    assert list(tmp_path.iterdir()) == []


def test_one_who_stumbles_over_news_hears_the_next(tmp_path: Path) -> None:
    heard: list[str] = []

    def tell(group: str, process: str, event: str) -> None:
        heard.append(group)
        if group == "bad":
            raise CommandFailed("full disk")

    with listen(tmp_path, tell):
        announce(tmp_path, "bad", "p", "e")
        announce(tmp_path, "good", "p", "e")
        until(lambda: heard == ["bad", "good"])


@dataclass
class Event:
    """As much of an event of supervisor as is told."""

    process: Any


def an_event(name: str) -> Event:
    config = SimpleNamespace(name=name)
    return Event(SimpleNamespace(config=config, group=SimpleNamespace(config=config)))


def test_a_listener_that_is_busy_hears_all_of_it_later(tmp_path: Path) -> None:
    announcer = Announcer(tmp_path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as slow:
        slow.bind(str(tmp_path / "slow.sock"))
        for number in range(3000):
            announcer.announce(an_event(f"p{number}"))
        heard: list[str] = []
        slow.setblocking(False)
        while len(heard) < 3000:
            announcer.catch_up()
            heard.append(slow.recv(4096).decode().split()[0])
    assert heard == [f"p{number}" for number in range(3000)]


def test_who_is_gone_is_forgotten(tmp_path: Path) -> None:
    announcer = Announcer(tmp_path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as gone:
        gone.bind(str(tmp_path / "gone.sock"))
    announcer.announce(an_event("p"))
    assert (list(tmp_path.iterdir()), announcer._kept) == ([], {})


def test_a_listener_that_never_listens_fills_no_memory(tmp_path: Path) -> None:
    announcer = Announcer(tmp_path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as deaf:
        deaf.bind(str(tmp_path / "deaf.sock"))
        for _ in range(12_000):
            announcer.announce(an_event("p"))
        assert len(announcer._kept[tmp_path / "deaf.sock"]) <= 10_000


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"]
)
def test_whatever_answers_instead_of_supervisord_is_an_error_that_says_so(tmp_path: Path, answer: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        server.listen()
        threading.Thread(target=_answer, args=(server, answer), daemon=True).start()
        with pytest.raises((Unreachable, CommandFailed), match="supervisord"):
            RpcSupervisor(tmp_path / "s", News()).pid()


def test_no_supervisord_is_told_with_what_to_type(tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match="does not run") as caught:
        RpcSupervisor(tmp_path / "s", News()).pid()
    assert "slapos node boot" in caught.value.resolution


def test_a_supervisord_that_hangs_is_as_good_as_none(tmp_path: Path) -> None:
    class Impatient(RpcSupervisor):
        def _attempt(self, method: str, *arguments: Any) -> Any:
            raise TimeoutError("timed out")

    with pytest.raises(Unreachable, match="does not answer"):
        Impatient(tmp_path / "s", News()).pid()


def test_as_long_as_something_happens_patience_is_not_at_its_end() -> None:
    """Each of a hundred processes that end tells so; that is no reason to give up."""

    class Slow(RpcSupervisor):
        calls = 0

        def _call(self, method: str, *arguments: Any) -> Any:
            self.calls += 1
            self._news.tell("g")
            return ["p"] if self.calls < 200 else []

    slow = Slow(Path("/nowhere"), News(), stop_patience=60)
    slow.remove("g")
    assert slow.calls == 200


def _answer(server: socket.socket, answer: bytes) -> None:
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        with connection:
            connection.recv(65536)
            connection.sendall(answer)


def until(condition: Any) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)
