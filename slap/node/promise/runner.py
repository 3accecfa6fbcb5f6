"""Run promises: in parallel, with time-outs, when due, mostly without a program."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from slap.model.check import Check, CommandCheck, MachineCheck, NetworkCheck, PluginCheck
from slap.model.errors import SlapError
from slap.model.promise import PromiseResult
from slap.node.promise.machine import sense_machine
from slap.node.promise.plugin_launcher import PluginAnswer, PluginLauncher
from slap.system.clock import Clock
from slap.system.host.launch import UNLIMITED, LaunchLimits
from slap.system.network.probe import sense_network
from slap.system.process import Command, Completed, Runner

# Of what a promise says, this much is kept.
LONGEST_MESSAGE = 2000
# So many promises of one partition run at a time.
_SIDE_BY_SIDE = 16
# Seconds after which no more promises of one look are begun: a partition is neither stopped nor destroyed meanwhile.
_LONGEST_LOOK = 300.0
# So many seconds at least lie between two runs of a plugin.
_BETWEEN_PLUGINS = 1.0


_TOO_LATE = f"It was not run: other promises of this partition took more than {_LONGEST_LOOK:g} s."

# Those that are run one by one.
_Alone = NetworkCheck | MachineCheck | CommandCheck


@dataclass(frozen=True)
class PartitionPlace:
    """Folder, addresses, environment, user and limits by which a partition's promises run."""

    folder: Path
    addresses: frozenset[str]
    environment: Mapping[str, str]
    user: int | None = None
    group: int | None = None
    limits: LaunchLimits = UNLIMITED


class PromiseRunner:
    """Runs the promises of a partition in parallel, in its own threads: those of another may hang."""

    def __init__(self, runner: Runner, clock: Clock, plugins: PluginLauncher | None = None) -> None:
        """Without `plugins` there is nothing that could run one."""
        self._runner = runner
        self._clock = clock
        self._plugins = plugins
        self._learned: dict[str, float] = {}

    def run(
        self, place: PartitionPlace, checks: Mapping[str, Check], *, steady: bool = False
    ) -> tuple[PromiseResult, ...]:
        """One result for each check, in the order of their names.

        `steady`: all was well at the last look, and plugins are asked whether something has gone wrong since.
        """
        plugins = {name: check for name, check in checks.items() if isinstance(check, PluginCheck)}
        others = {name: check for name, check in checks.items() if not isinstance(check, PluginCheck)}
        end = self._clock.monotonic() + _LONGEST_LOOK
        work = [partial(self._run_one, place, name, check, end) for name, check in others.items()]
        if plugins:  # all in one process
            work.append(partial(self._run_plugins, place, plugins, steady))
        return tuple(sorted(_side_by_side(work), key=lambda result: result.name))

    def as_learned(self, checks: Mapping[str, Check]) -> dict[str, Check]:
        """The checks, with plugins at the frequency that their last run asked for."""
        return {name: self._as_learned(check) for name, check in checks.items()}

    def _as_learned(self, check: Check) -> Check:
        if not isinstance(check, PluginCheck) or check.path not in self._learned:
            return check
        return check.model_copy(update={"frequency": self._learned[check.path]})

    def _run_plugins(
        self, place: PartitionPlace, plugins: Mapping[str, PluginCheck], steady: bool
    ) -> list[PromiseResult]:
        base = Command(
            (), cwd=place.folder, env=place.environment, user=place.user, group=place.group, limits=place.limits
        )
        answers = self._plugins.run(base, plugins, anomaly=steady) if self._plugins else {}
        self._learned |= {plugins[name].path: answer.frequency for name, answer in answers.items()}
        return [self._result_of(name, answers.get(name)) for name in plugins]

    def _result_of(self, name: str, answer: PluginAnswer | None) -> PromiseResult:
        if answer is None:
            return PromiseResult(name=name, passed=False, message="Plugins are not run here.", at=self._clock.now())
        return PromiseResult(
            name=name,
            passed=answer.passed,
            message=answer.message[:LONGEST_MESSAGE],
            at=self._clock.now(),
            seconds=answer.seconds,
        )

    def _run_one(self, place: PartitionPlace, name: str, check: _Alone, end: float) -> list[PromiseResult]:
        started = self._clock.monotonic()
        passed, message = self._sense(place, check) if started < end else (False, _TOO_LATE)
        result = PromiseResult(
            name=name,
            passed=passed,
            message=message[:LONGEST_MESSAGE],
            at=self._clock.now(),
            seconds=round(self._clock.monotonic() - started, 3),
        )
        return [result]

    def _sense(self, place: PartitionPlace, check: _Alone) -> tuple[bool, str]:
        if isinstance(check, CommandCheck):
            return self._sense_command(place, check)
        if check.host not in (*place.addresses, *([""] if isinstance(check, MachineCheck) else [])):
            return False, f"{check.host} is not an address of this partition; use a command promise for it."
        if isinstance(check, MachineCheck):
            return sense_machine(check, place.folder, place.user, self._clock.now().timestamp())
        return sense_network(check)

    def _sense_command(self, place: PartitionPlace, check: CommandCheck) -> tuple[bool, str]:
        command = Command(
            check.command,
            cwd=place.folder,
            env={**place.environment, **check.environment},
            timeout=check.timeout,
            longest=LONGEST_MESSAGE,
            user=place.user,
            group=place.group,
            limits=place.limits,
        )
        try:
            completed = self._runner.run(command)
        except SlapError as error:
            return False, error.brief
        return completed.status == 0, _words_of(completed, check)


def _side_by_side(work: Sequence[Callable[[], list[PromiseResult]]]) -> list[PromiseResult]:
    if len(work) == 1:  # nothing to run beside it, so no thread either
        return work[0]()
    with ThreadPoolExecutor(max(1, min(len(work), _SIDE_BY_SIDE)), "promise") as threads:
        return [result for results in threads.map(lambda each: each(), work) for result in results]


def due_checks(
    checks: Mapping[str, Check], last: Mapping[str, float], now: float, *, all_of_them: bool
) -> dict[str, Check]:
    """The checks to run now, by the time of their last run in `last`."""
    return {
        name: check
        for name, check in checks.items()
        if name not in last or not 0 <= now - last[name] < (_pause(check) if all_of_them else check.frequency)
    }


def _pause(check: Check) -> float:
    """Minimum interval between re-runs; plugins are throttled because each starts a Python process."""
    return _BETWEEN_PLUGINS if isinstance(check, PluginCheck) else 0.0


def limited(checks: Mapping[str, Check], timeout: float) -> dict[str, Check]:
    """The checks with another time-out, unless it is 0."""
    return {name: each.model_copy(update={"timeout": timeout} if timeout else {}) for name, each in checks.items()}


def next_due(checks: Mapping[str, Check], last: Mapping[str, float], now: float) -> float:
    """Seconds until the next check is due; an hour when there is none."""
    return min((_left(check, now - last.get(name, 0.0)) for name, check in checks.items()), default=3600.0)


def _left(check: Check, age: float) -> float:
    """Seconds until a check is due; 0 for a result from the future, after a change of the clock."""
    return check.frequency - age if 0 <= age < check.frequency else 0.0


def _words_of(completed: Completed, check: CommandCheck) -> str:
    said = (completed.stdout + completed.stderr).strip()
    if completed.status == 124:
        said = said.removesuffix(f"killed after {check.timeout:g} s")
        return f"{Path(check.command[0]).name} did not end within {check.timeout:g} s and was killed. {said}".strip()
    return said or (
        "" if completed.status == 0 else f"{Path(check.command[0]).name} ended with status {completed.status}."
    )
