"""Started is only what runs and has its promises passed; all else is said in the words of what failed."""

from datetime import UTC, datetime

import pytest

from slap.model.check import Check, CommandCheck
from slap.model.promise import PromiseResult
from slap.node.core.store import Installed
from slap.node.partition.health import GracePeriod, judge
from slap.system.supervisor import ProcessInfo, ProcessState

P: Check = CommandCheck(check="command", command=("true",))
WEB = Installed(services={"web": "1"}, checks={"p": P})
BARE = Installed(services={"web": "1"})
ONCE = Installed(runs={"init": "1"}, checks={"p": P})


def process(state: str, name: str = "web", status: int = -1, error: str = "") -> ProcessInfo:
    return ProcessInfo(name, ProcessState(state), status=status, error=error)


SLOWED = ProcessInfo("web", ProcessState.RUNNING, pid=7, is_slowed=True)
SUSPENDED = ProcessInfo("web", ProcessState.RUNNING, pid=7, is_suspended=True)


def result(passed: bool, message: str = "") -> dict[str, PromiseResult]:
    return {"p": PromiseResult(name="p", passed=passed, message=message, at=datetime.now(UTC))}


PASSED, FAILED = result(True), result(False, "no route")


@pytest.mark.parametrize(
    ("installed", "processes", "results", "starting", "state", "words"),
    [
        (Installed(), [], {}, True, "started", ""),
        (WEB, [process("RUNNING")], PASSED, True, "started", ""),
        (WEB, [process("STARTING")], PASSED, True, "started", ""),
        (WEB, [process("RUNNING")], {}, True, "instantiating", "Promise p was not run"),
        (WEB, [process("RUNNING")], FAILED, True, "instantiating", "no route"),
        (WEB, [process("RUNNING")], FAILED, False, "error", "Promise p: no route"),
        (WEB, [process("RUNNING")], result(False), False, "error", "without a word"),
        (WEB, [], PASSED, False, "instantiating", "Starting web"),
        (WEB, [process("BACKOFF", error="spawn failed")], PASSED, True, "instantiating", "spawn failed: last words"),
        (WEB, [process("BACKOFF")], PASSED, False, "error", "Service web does not run"),
        (WEB, [process("FATAL", status=3)], PASSED, True, "error", "status 3: last words"),
        (WEB, [process("STOPPED", status=0)], PASSED, False, "error", "Service web"),
        (WEB, [process("EXITED", status=0)], PASSED, False, "error", "Service web"),
        (WEB, [process("UNKNOWN")], PASSED, False, "error", "Service web"),
        (WEB, [SUSPENDED], PASSED, False, "error", "Service web is suspended. To have it go on: kill -CONT 7"),
        (WEB, [SLOWED], PASSED, False, "error", "Service web prints too much"),
        (BARE, [process("STARTING")], {}, False, "instantiating", "Service web starts"),
        (BARE, [process("RUNNING")], {}, False, "started", ""),
        (ONCE, [process("RUNNING", "init")], PASSED, False, "instantiating", "Program init runs"),
        (ONCE, [process("EXITED", "init", 0)], PASSED, False, "started", ""),
        (ONCE, [process("EXITED", "init", 1)], PASSED, False, "error", "Program init"),
        (ONCE, [process("EXITED", "init", 0)], FAILED, False, "error", "no route"),
    ],
)
def test_the_verdict(
    installed: Installed,
    processes: list[ProcessInfo],
    results: dict[str, PromiseResult],
    starting: bool,
    state: str,
    words: str,
) -> None:
    verdict = judge(installed, processes, results, GracePeriod(starting), lambda name: "last words")
    assert (verdict.state.value, verdict.is_ready) == (state, state == "started")
    assert words in verdict.message
    assert bool(verdict.message) is bool(words)


def test_all_troubles_are_told_at_once() -> None:
    installed = Installed(services={"a": "1", "b": "1"}, checks={"p": P})
    processes = [process("FATAL", "a", 1), process("BACKOFF", "b", 2)]
    verdict = judge(installed, processes, FAILED, GracePeriod(True), lambda name: "")
    assert verdict.dead
    assert [line.split()[1] for line in verdict.message.splitlines()] == ["a", "b", "p:"]
