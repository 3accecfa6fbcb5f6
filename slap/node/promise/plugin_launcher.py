"""Start one process a partition for all of its due promise plugins, as the partition's user."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import Field, ValidationError

from slap.model.base import Frozen
from slap.model.check import PluginCheck
from slap.model.errors import SlapError
from slap.model.values import Line, Message
from slap.node.core.logs import log_refusal
from slap.system import files
from slap.system.environment import open_python
from slap.system.process import Command, Completed, Runner

# What the process is made of: copies of these, which any user can read.
_PROGRAM = ("plugin_host.py", "plugin_base.py", "plugin_interface.py")
_SIDE_BY_SIDE = 4  # as plugin_host.py has it
_MARGIN = 10.0  # seconds to start and to end
_LONGEST_LOOK = 900.0  # seconds for all plugins of a partition, which is neither stopped nor destroyed meanwhile
_LONGEST_ANSWER = 8192  # bytes
_SOONEST, _LATEST = 10.0, 86400.0  # seconds between two runs of a plugin, whatever it says


class PluginAnswer(Frozen):
    """A plugin's result. `minutes`: how long it wants not to run again."""

    name: Line
    passed: bool
    message: Message = ""
    seconds: float = Field(default=0.0, ge=0, le=_LATEST)
    minutes: float = Field(default=2.0, gt=0, allow_inf_nan=False)

    @property
    def frequency(self) -> float:
        return min(_LATEST, max(_SOONEST, self.minutes * 60))


class PluginLauncher:
    """Runs plugins. `folder` holds copies of the host program, made when needed."""

    def __init__(self, folder: Path, runner: Runner, python: Path | None = None) -> None:
        self._folder = folder
        self._runner = runner
        self._python = python or open_python()
        self._is_ready = False

    def run(self, base: Command, plugins: Mapping[str, PluginCheck], *, anomaly: bool) -> dict[str, PluginAnswer]:
        """Run plugins; returns an answer for each. `base` has user, folder and environment."""
        self._prepare()
        command = Command(
            (str(self._python), "-I", "-S", str(self._folder / _PROGRAM[0]), _request(base, plugins, anomaly)),
            cwd=base.cwd,
            env=base.env,
            timeout=_MARGIN + _longest(plugins),
            longest=_LONGEST_ANSWER * len(plugins),
            user=base.user,
            group=base.group,
            limits=base.limits,
        )
        try:
            completed = self._runner.run(command)
        except SlapError as error:
            return {name: PluginAnswer(name=name, passed=False, message=error.brief) for name in plugins}
        answers = _read(base, completed.stdout.splitlines())
        return {name: answers.get(name) or _silent(name, completed) for name in plugins}

    def _prepare(self) -> None:
        if not self._is_ready:
            files.make_folder(self._folder, 0o755)
            for name in _PROGRAM:
                files.write_if_changed(self._folder / name, Path(__file__).with_name(name).read_text())
            self._is_ready = True


def _request(base: Command, plugins: Mapping[str, PluginCheck], anomaly: bool) -> str:
    wanted = [{"name": name, "path": each.path, "timeout": each.timeout} for name, each in sorted(plugins.items())]
    return json.dumps({"folder": str(base.cwd), "anomaly": anomaly, "plugins": wanted})


def _longest(plugins: Mapping[str, PluginCheck]) -> float:
    rounds = math.ceil(len(plugins) / _SIDE_BY_SIDE)
    return min(_LONGEST_LOOK, rounds * max(each.timeout for each in plugins.values()))


def _read(base: Command, lines: Sequence[str]) -> dict[str, PluginAnswer]:
    """The valid answers in a process's output, which the tenant controls."""
    answers = {}
    for line in lines:
        try:
            answer = PluginAnswer.model_validate_json(line)
        except ValidationError as error:
            log_refusal(base.cwd.name if base.cwd else "", "the answer of a plugin", error.errors()[0]["msg"])
            continue
        answers[answer.name] = answer
    return answers


def _silent(name: str, completed: Completed) -> PluginAnswer:
    said = completed.stderr.strip().splitlines()[-1:]
    message = " ".join(["The promise could not be run.", *said])
    return PluginAnswer(name=name, passed=False, message=message)
