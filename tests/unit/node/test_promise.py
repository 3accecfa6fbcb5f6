"""Promises run when they are due, within their time, and say what they found."""

import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from slap.model.check import Check, CommandCheck, NetworkCheck
from slap.node.promise import LONGEST_MESSAGE, PartitionPlace, PromiseRunner, due_checks, next_due
from slap.system.clock import FakeClock, SystemClock
from slap.system.process import Completed, FakeRunner, SystemRunner

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
        (("/bin/echo\0", "x"), "cannot be started"),
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
    started = time.monotonic()
    checks: dict[str, Check] = {str(n): command("/bin/sleep", "0.3") for n in range(5)}
    results = PromiseRunner(SystemRunner(), SystemClock()).run(place(tmp_path), checks)
    assert [result.passed for result in results] == [True] * 5
    assert time.monotonic() - started < 1.2


def test_promises_of_a_tenant_that_hang_do_not_hold_back_those_of_another(tmp_path: Path) -> None:
    runner = PromiseRunner(SystemRunner(), SystemClock())
    stuck: dict[str, Check] = {str(n): command("/bin/sleep", "1.5") for n in range(70)}
    thread = threading.Thread(target=runner.run, args=(place(tmp_path), stuck))
    thread.start()
    time.sleep(0.05)
    started = time.monotonic()
    runner.run(place(tmp_path), {"a": command(), "b": command()})
    assert time.monotonic() - started < 1
    thread.join()


@pytest.mark.parametrize(
    ("answer", "options", "passed", "words"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\nHello", {}, True, ""),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nHello", {"expect": "ell"}, True, ""),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nHello", {"expect": "Bye"}, False, "without 'Bye'"),
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


@pytest.mark.parametrize("path", ["/\N{SNOWMAN}", "/a b", "/\r\nHost: x"])
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


def test_the_node_is_no_door_to_addresses_of_others(tmp_path: Path) -> None:
    with server(b"HTTP/1.1 200 OK\r\n\r\n") as port:
        passed, message = sense(tmp_path, network(port, host="127.0.0.2"))
    assert (passed, "not an address of this partition" in message) == (False, True)


def test_python_is_not_needed_for_a_promise() -> None:
    """What a declared check costs is what the node's own code costs: no program is started."""
    runner = FakeRunner()
    PromiseRunner(runner, SystemClock()).run(place(Path(sys.prefix)), {"p": network(1, "port")})
    assert runner.commands == []
