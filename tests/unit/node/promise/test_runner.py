"""Promises run when they are due, within their time, and say what they found."""

import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from slap.model.check import Check, CommandCheck, NetworkCheck
from slap.node.promise.runner import LONGEST_MESSAGE, PartitionPlace, PromiseRunner, due_checks, next_due
from slap.system.clock import FakeClock, SystemClock
from slap.system.process import Command, Completed, FakeRunner, SystemRunner

OWN = "127.0.0.1"


def command(*argv: str, **options: Any) -> CommandCheck:
    return CommandCheck(check="command", command=argv or ("true",), **options)


def network(port: int, kind: str = "url", **options: Any) -> NetworkCheck:
    return NetworkCheck(**({"check": kind, "host": OWN, "port": port, "timeout": 5} | options))


def place(folder: Path) -> PartitionPlace:
    return PartitionPlace(folder, frozenset({OWN}), {"PATH": "/usr/bin:/bin"})


def sense(folder: Path, check: Check) -> tuple[bool, str]:
    (result,) = PromiseRunner(SystemRunner(), SystemClock()).run(place(folder), {"p": check})
    return result.passed, result.message


@contextmanager
def server(answer: bytes, pause: float = 0.0) -> Iterator[int]:
    """Answers one request, byte by byte where it pauses, as a service that is about to choke does."""
    with socket.create_server((OWN, 0)) as listener:
        thread = threading.Thread(target=_serve, args=(listener, answer, pause), daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)  # it may wait for a client that never came
    thread.join(5)


def _serve(listener: socket.socket, answer: bytes, pause: float) -> None:
    try:
        connection, _ = listener.accept()
        with connection:
            connection.recv(4096)
            for piece in [answer[n : n + 1] for n in range(len(answer))] if pause else [answer]:
                connection.sendall(piece)
                time.sleep(pause)
    except OSError:
        return


@pytest.mark.parametrize(
    ("last", "now", "everything", "due", "left"),
    [
        ({}, 1000.0, False, ["fast", "slow"], 0.0),
        ({"fast": 1000.0, "slow": 1000.0}, 1000.0, False, [], 10.0),
        ({"fast": 1000.0, "slow": 1000.0}, 1009.0, False, [], 1.0),
        ({"fast": 1000.0, "slow": 1000.0}, 1010.0, False, ["fast"], 0.0),
        ({"fast": 1060.0, "slow": 1000.0}, 1060.0, False, ["slow"], 0.0),
        ({"fast": 1000.0, "slow": 1000.0}, 1001.0, True, ["fast", "slow"], 9.0),
        ({"fast": 90000.0, "slow": 1000.0}, 1001.0, False, ["fast"], 0.0),  # the clock was set back
    ],
)
def test_what_is_due(last: dict[str, float], now: float, everything: bool, due: list[str], left: float) -> None:
    checks: dict[str, Check] = {"fast": command(frequency=10), "slow": command(frequency=60)}
    assert sorted(due_checks(checks, last, now, all_of_them=everything)) == due
    assert next_due(checks, last, now) == left


def test_without_checks_there_is_an_hour_to_rest() -> None:
    assert next_due({}, {}, 0.0) == 3600.0


def test_a_command_runs_as_the_partition_and_with_nothing_of_ours(tmp_path: Path) -> None:
    runner = FakeRunner({"ask": Completed(None, 1, " it is\n", "ill ")})  # type: ignore[arg-type]
    own = PartitionPlace(tmp_path, frozenset(), {"HOME": "/p"}, user=1234, group=1235)
    checks: dict[str, Check] = {"a": command("/p/ask", environment={"X": "1"}, timeout=3), "b": command("/p/true")}
    a, b = PromiseRunner(runner, FakeClock()).run(own, checks)
    assert ((a.name, a.passed, a.message), (b.name, b.passed, b.message)) == (
        ("a", False, "it is\nill"),
        ("b", True, ""),
    )
    asked = next(each for each in runner.commands if each.argv == ("/p/ask",))
    assert (asked.cwd, asked.env, asked.user, asked.group, asked.timeout) == (
        tmp_path,
        {"HOME": "/p", "X": "1"},
        1234,
        1235,
        3,
    )


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (("/bin/false",), "false ended with status 1."),
        (("/bin/sleep", "9"), "sleep did not end within 0.2 s and was killed."),
        (("/nowhere/at/all",), "could not be started"),
    ],
)
def test_a_command_that_fails_says_how(tmp_path: Path, argv: tuple[str, ...], words: str) -> None:
    passed, message = sense(tmp_path, command(*argv, timeout=0.2))
    assert (passed, words in message) == (False, True)


def test_a_promise_that_talks_without_end_fills_no_memory(tmp_path: Path) -> None:
    passed, message = sense(tmp_path, command("/usr/bin/yes", "x" * 60, timeout=0.3))
    assert not passed
    assert len(message) <= LONGEST_MESSAGE


def test_promises_run_side_by_side(tmp_path: Path) -> None:
    """Each passes once all five are there: one after the other, none would."""
    met = f"touch {tmp_path}/met-$0; until [ $(ls {tmp_path} | grep -c met) = 5 ]; do sleep 0.02; done"
    checks: dict[str, Check] = {str(n): command("/bin/sh", "-c", met, str(n), timeout=60) for n in range(5)}
    results = PromiseRunner(SystemRunner(), SystemClock()).run(place(tmp_path), checks)
    assert [result.passed for result in results] == [True] * 5


def test_promises_of_a_tenant_that_hang_do_not_hold_back_those_of_another(tmp_path: Path) -> None:
    runner = PromiseRunner(SystemRunner(), SystemClock())
    stuck: dict[str, Check] = {str(n): command("/bin/sleep", "1.5") for n in range(70)}
    thread = threading.Thread(target=runner.run, args=(place(tmp_path), stuck))
    thread.start()
    time.sleep(0.05)
    results = runner.run(place(tmp_path), {"a": command(), "b": command()})
    assert thread.is_alive() and [result.passed for result in results] == [True] * 2
    thread.join()


@pytest.mark.parametrize(
    ("answer", "options", "passed", "words"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\nHello", {}, True, ""),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nHello", {"expect": "ell"}, True, ""),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nHello", {"expect": "Bye"}, False, "without 'Bye'"),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + b"x" * 200_000 + b"Hello", {"expect": "Hello"}, True, ""),
        (b"HTTP/1.1 302 Found\r\n\r\n", {}, True, ""),
        (b"HTTP/1.1 503 Busy\r\n\r\n", {"path": "/x"}, False, "/x answered 503 Busy."),
        (b"nonsense", {}, False, "nonsense"),
        (b"", {}, False, "closed"),
    ],
)
def test_a_page_is_asked_for(tmp_path: Path, answer: bytes, options: dict[str, Any], passed: bool, words: str) -> None:
    with server(answer) as port:
        got, message = sense(tmp_path, network(port, **options))
    assert (got, words in message) == (passed, True)


@pytest.mark.parametrize("path", ["/\N{SNOWMAN}", "/a b"])
def test_a_path_that_is_none_is_a_failed_promise(tmp_path: Path, path: str) -> None:
    with server(b"HTTP/1.1 200 OK\r\n\r\n") as port:
        assert not sense(tmp_path, network(port, path=path))[0]


def test_a_service_that_answers_drop_by_drop_does_not_take_for_ever(tmp_path: Path) -> None:
    started = time.monotonic()
    with server(b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 100, pause=0.05) as port:
        assert sense(tmp_path, network(port, timeout=0.3)) == (
            False, f"{OWN} port {port} did not answer within 0.3 s.",
        )  # fmt: skip
    assert time.monotonic() - started < 2


def test_a_port_is_connected_to(tmp_path: Path) -> None:
    with server(b"") as port:
        assert sense(tmp_path, network(port, "port")) == (True, "")
    assert sense(tmp_path, network(port, "port")) == (False, f"Nothing listens on {OWN} port {port}.")


@contextmanager
def greeter(behave: Callable[[socket.socket], object]) -> Iterator[int]:
    """Does one thing with the first who connects, who then decides when it is over."""
    with socket.create_server((OWN, 0)) as listener:

        def serve() -> None:
            with suppress(OSError), listener.accept()[0] as channel:
                if behave(channel) is not False:
                    channel.recv(1)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)  # it may wait for a client that never came
    thread.join(5)


def hang_up(channel: socket.socket) -> bool:
    return False


def reset(channel: socket.socket) -> bool:
    channel.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return False


def greet(channel: socket.socket) -> None:
    for piece in (b"SS", b"H-2.0\r\n"):
        channel.sendall(piece)
        time.sleep(0.05)


def lie(channel: socket.socket) -> bool:
    channel.sendall(b"220 mail")
    return False


def keep_silent(channel: socket.socket) -> None:
    return None


@pytest.mark.parametrize(
    ("kind", "behave", "expect", "words"),
    [
        ("forward", hang_up, "", "nothing answers at 10.0.0.5:22"),
        ("forward", reset, "", "nothing answers at 10.0.0.5:22"),
        ("forward", hang_up, "SSH-", "nothing answers at 10.0.0.5:22"),
        ("forward", reset, "SSH-", "nothing answers at 10.0.0.5:22"),
        ("forward", lie, "SSH-", "said b'220 mail', without 'SSH-'"),
        ("forward", keep_silent, "SSH-", "did not answer within 0.7 s"),
        ("forward", keep_silent, "", ""),
        ("forward", greet, "", ""),
        ("forward", greet, "SSH-", ""),
        ("port", hang_up, "", ""),
        ("port", greet, "SSH-2", ""),
        ("port", lie, "SSH-", "without 'SSH-'"),
    ],
)
def test_a_forwarder_is_looked_through(
    tmp_path: Path, kind: str, behave: Callable[[socket.socket], object], expect: str, words: str
) -> None:
    with greeter(behave) as port:
        check = network(port, kind, expect=expect, target="10.0.0.5:22", timeout=0.7)
        passed, message = sense(tmp_path, check)
    assert (passed, words in message) == (not words, True), message


def answer_ping(channel: socket.socket) -> None:
    channel.sendall(b"+PONG\r\n" if channel.recv(100) == b"PING\r\n" else b"-ERR\r\n")


@pytest.mark.parametrize(
    ("behave", "expect", "words"),
    [
        (answer_ping, "", ""),
        (answer_ping, "PONG", ""),
        (answer_ping, "OK", "without 'OK'"),
        (keep_silent, "", "hangs up"),
        (lambda channel: channel.recv(6), "", "did not answer within 0.7 s"),
    ],
)
def test_a_port_answers_what_it_is_sent(
    tmp_path: Path, behave: Callable[[socket.socket], object], expect: str, words: str
) -> None:
    with greeter(behave) as port:
        passed, message = sense(tmp_path, network(port, "port", send="PING", expect=expect, timeout=0.7))
    assert (passed, words in message) == (not words, True), message


def test_only_one_line_is_sent() -> None:
    with pytest.raises(ValidationError):
        network(80, "port", send="PING\r\nFLUSHALL")


def test_a_forwarder_that_is_dead_is_told_from_one_with_nothing_behind(tmp_path: Path) -> None:
    with socket.create_server((OWN, 0)) as listener:
        port = listener.getsockname()[1]
    check = network(port, "forward", target="10.0.0.5:22")
    assert sense(tmp_path, check) == (False, f"Nothing listens on {OWN} port {port}.")


def test_who_talks_without_end_and_never_says_it_is_cut_off(tmp_path: Path) -> None:
    with greeter(lambda channel: channel.sendall(b"x" * 100_000)) as port:
        passed, message = sense(tmp_path, network(port, "forward", expect="SSH-"))
    assert (passed, len(message) < 300) == (False, True)


def test_the_node_is_no_door_to_addresses_of_others(tmp_path: Path) -> None:
    with server(b"HTTP/1.1 200 OK\r\n\r\n") as port:
        passed, message = sense(tmp_path, network(port, host="127.0.0.2"))
    assert (passed, "not an address of this partition" in message) == (False, True)


def test_python_is_not_needed_for_a_promise() -> None:
    """What a declared check costs is what the node's own code costs: no program is started."""
    runner = FakeRunner()
    PromiseRunner(runner, SystemClock()).run(place(Path(sys.prefix)), {"p": network(1, "port")})
    assert runner.commands == []


@dataclass
class SlowRunner:
    """Each program takes all of its time."""

    clock: FakeClock
    count: int = 0

    def run(self, command: Command) -> Completed:
        self.count += 1
        self.clock.sleep(command.timeout or 0)
        return Completed(command, 124)


def test_promises_that_take_long_do_not_keep_a_partition_from_being_stopped(tmp_path: Path) -> None:
    clock = FakeClock()
    runner = SlowRunner(clock)
    checks: dict[str, Check] = {f"p{number}": command(timeout=600) for number in range(200)}
    results = PromiseRunner(runner, clock).run(place(tmp_path), checks)
    assert runner.count <= 16 and len(results) == 200
    assert sum("It was not run" in each.message for each in results) == 200 - runner.count
