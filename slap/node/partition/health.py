"""Judge a partition by its processes and promises: ready or not, and why."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from slap.model.promise import PromiseResult
from slap.model.state import ReportedInstanceState
from slap.node.core.store import Installed
from slap.system.supervisor import ProcessInfo, ProcessState

# Supervisor's words for a program that did not stay up; it does not keep the status of such a one.
_TOO_QUICKLY = "Exited too quickly"


@dataclass(frozen=True)
class Verdict:
    """The state to report. `dead`: a program failed that does not restart by itself."""

    state: ReportedInstanceState
    message: str = ""
    dead: bool = False

    @property
    def is_ready(self) -> bool:
        return self.state is ReportedInstanceState.STARTED

    def with_fault(self, fault: str) -> "Verdict":
        """The same verdict with another fault added: in error."""
        return replace(self, state=ReportedInstanceState.ERROR, message="\n".join(filter(None, (self.message, fault))))


@dataclass(frozen=True)
class GracePeriod:
    """Whether failures still count as starting."""

    starting: bool


def judge(
    installed: Installed,
    processes: Iterable[ProcessInfo],
    results: Mapping[str, PromiseResult],
    patience: GracePeriod,
    last_words: Callable[[str], str],
) -> Verdict:
    """The verdict on a partition that should run; `last_words` gives the end of a program's log."""
    seen = {process.name: process for process in processes}
    troubles = [*_process_troubles(installed, seen, last_words), *_promise_troubles(installed, results)]
    dead = any(is_given_up(installed, process) for process in seen.values())
    if troubles:
        starting = patience.starting and not dead
        state = ReportedInstanceState.INSTANTIATING if starting else ReportedInstanceState.ERROR
        return Verdict(state, "\n".join(troubles), dead)
    if unfinished := _unfinished(installed, seen, results):
        return Verdict(ReportedInstanceState.INSTANTIATING, unfinished)
    return Verdict(ReportedInstanceState.STARTED)


def is_given_up(installed: Installed, process: ProcessInfo) -> bool:
    """Whether supervisord gave a process up: it never stays up, or ran once and failed."""
    return process.state is ProcessState.FATAL or (process.name in installed.runs and _run_failed(process))


def _process_troubles(
    installed: Installed, seen: Mapping[str, ProcessInfo], last_words: Callable[[str], str]
) -> Iterable[str]:
    for name in installed.services:
        if name in seen and not seen[name].state.is_alive:
            yield _ended("Service", seen[name], last_words)
        elif name in seen and seen[name].is_suspended:
            yield f"Service {name} is suspended. To have it go on: kill -CONT {seen[name].pid}"
        if name in seen and seen[name].is_slowed:
            yield f"Service {name} prints too much: it waits until what it printed is in its log, which is rotated."
    for name in installed.runs:
        if name in seen and _run_failed(seen[name]):
            yield _ended("Program", seen[name], last_words)


def _run_failed(process: ProcessInfo) -> bool:
    ended = process.state in (ProcessState.EXITED, ProcessState.BACKOFF, ProcessState.FATAL)
    return ended and process.status != 0


def _ended(kind: str, process: ProcessInfo, last_words: Callable[[str], str]) -> str:
    words = last_words(process.name)
    return f"{kind} {process.name} {_how_it_ended(process)}" + (f": {words}" if words else ".")


def _how_it_ended(process: ProcessInfo) -> str:
    if process.status >= 0:
        return f"ended with status {process.status}"
    if process.error.startswith(_TOO_QUICKLY):
        return "ends as soon as it is started"
    return process.error or "does not run"


def _promise_troubles(installed: Installed, results: Mapping[str, PromiseResult]) -> Iterable[str]:
    for name in installed.checks:
        if name in results and not results[name].passed:
            yield f"Promise {name}: {results[name].message or 'failed without a word.'}"


def _unfinished(installed: Installed, seen: Mapping[str, ProcessInfo], results: Mapping[str, PromiseResult]) -> str:
    """Programs that are starting. Passed promises prove more than supervisord's one second."""
    missing = [name for name in (*installed.services, *installed.runs) if name not in seen]
    if missing:
        return f"Starting {', '.join(missing)}."
    if running := [name for name in installed.runs if seen[name].state.is_alive]:
        return f"Program {', '.join(running)} runs."
    if unseen := [name for name in installed.checks if name not in results]:
        return f"Promise {', '.join(unseen)} was not run yet."
    starting = [name for name in installed.services if seen[name].state is ProcessState.STARTING]
    return f"Service {', '.join(starting)} starts." if starting and not installed.checks else ""
