"""Promise plugins as SlapOS has them, in a process of their own, with base classes of ours where there are no others."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from slap.model.check import Check, CommandCheck, PluginCheck
from slap.node.promise.plugin_launcher import PluginLauncher
from slap.node.promise.runner import PartitionPlace, PromiseRunner
from slap.system.clock import SystemClock
from slap.system.process import Command, Completed, FakeRunner, SystemRunner

# The first lines are those that slapos.cookbook:promise.plugin writes.
HEAD = """\
import sys
sys.path[0:0] = {path!r}
extra_config_dict = {config!r}
for module in list(sys.modules):
  if 'slapos' in module or 'pkg_resources' in module:
    del sys.modules[module]
"""
BODY = """
from zope.interface import implementer
from slapos.grid.promise import interface
from slapos.grid.promise.generic import GenericPromise

@implementer(interface.IPromise)
class RunPromise(GenericPromise):
  def __init__(self, config):
    super(RunPromise, self).__init__(config)
    self.setPeriodicity(float(self.getConfig('frequency', 2)))
  def sense(self):
    say = self.logger.error if self.getConfig('bad') else self.logger.info
    say('%s of %s', self.getConfig('say'), self.getTitle())
  def anomaly(self):
    return self._anomaly(result_count=2, failure_amount=2)
"""


class World:
    """A partition with plugins, and what runs them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "slappart0"
        (self.folder / "etc/plugin").mkdir(parents=True)
        self.launcher = PluginLauncher(folder / "program", SystemRunner(), Path(sys.executable))
        self.plugins: dict[str, PluginCheck] = {}

    def plugin(self, name: str, body: str = BODY, timeout: float = 20, **config: Any) -> None:
        path = self.folder / f"etc/plugin/{name}.py"
        path.write_text(HEAD.format(path=(), config=config) + body)
        self.plugins[name] = PluginCheck(check="plugin", path=str(path), timeout=timeout)

    def run(self, anomaly: bool = False) -> Mapping[str, tuple[bool, str]]:
        base = Command((), cwd=self.folder, env={"PATH": "/usr/bin:/bin"})
        answers = self.launcher.run(base, self.plugins, anomaly=anomaly)
        return {name: (answer.passed, answer.message) for name, answer in answers.items()}

    def saved(self, name: str) -> dict[str, Any]:
        return dict(json.loads((self.folder / f".slapgrid/promise/result/{name}.status.json").read_text()))


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_plugins_say_what_they_found(world: World) -> None:
    world.plugin("good", say="water")
    world.plugin("bad", say="fire", bad="1")
    assert world.run() == {"good": (True, "water of good"), "bad": (False, "fire of bad")}
    assert world.saved("bad")["result"]["failed"] is True
    assert world.saved("good")["name"] == "good.py"
    assert "ERROR" in (world.folder / ".slapgrid/promise/log/bad.log").read_text()


def test_while_all_is_well_one_failure_is_no_trouble_yet(world: World) -> None:
    world.plugin("p", say="fire", bad="1")
    assert world.run(anomaly=True)["p"][0]
    assert not world.run(anomaly=True)["p"][0]
    assert world.saved("p")["result"]["type"] == "Anomaly Result"
    world.plugin("p", say="water")
    assert world.run(anomaly=True)["p"] == (True, "water of p")


def test_a_plugin_that_is_for_the_other_mode_only_is_left_out(world: World) -> None:
    for name, way in (
        ("quiet", "setTestLess"),
        ("calm", "setAnomalyLess"),
        ("none", "setTestLess(); self.setAnomalyLess"),
    ):
        world.plugin(name, BODY.replace("  def sense", f"    self.{way}()\n  def sense"), bad="1", say="fire")
    tested = world.run()
    assert (tested["quiet"], tested["calm"][0], tested["none"][0]) == ((True, ""), False, False)
    asked = world.run(anomaly=True)
    assert (asked["calm"], asked["none"][0]) == ((True, ""), False)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("x = 1", "no class RunPromise"),
        ("import nowhere_at_all", "No module named 'nowhere_at_all'"),
        (BODY.replace("say(", "raise ValueError("), "fire"),
        (BODY.replace("'%s of %s', ", "'%s' % ").replace(", self.getTitle()", ""), "fire"),
        (BODY + "\nextra_config_dict['queue'] = 1\n", "cannot have queue"),
        ("import os\nos._exit(3)", "ended without a result"),
        ("import os\nos.write(1, b'{}' * 100000)\nos.abort()", "ended without a result"),
        (BODY + "\n  def run(self, *a): pass\n", "gave no result"),
    ],
)
def test_what_is_wrong_with_a_plugin_is_said(world: World, body: str, words: str) -> None:
    world.plugin("p", body, say="fire", bad="1")
    world.plugin("good", say="water")
    found = world.run()
    assert not found["p"][0] and words in found["p"][1]
    assert found["good"] == (True, "water of good")


def test_a_plugin_that_hangs_holds_back_no_other(world: World) -> None:
    hangs = "import time, subprocess\nsubprocess.Popen(['/bin/sleep', '100'])\ntime.sleep(100)"
    for number in range(5):
        world.plugin(f"hangs{number}", hangs, timeout=0.5)
    world.plugin("good", say="water")
    found = world.run()
    assert found["good"] == (True, "water of good")
    assert found["hangs0"] == (False, "Error: Promise timed out after 0.5 seconds")
    assert not world.run(anomaly=True)["hangs0"][0]  # the second one in a row


def test_the_base_classes_of_the_release_come_first(world: World, tmp_path: Path) -> None:
    package = tmp_path / "egg/slapos/grid/promise"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "generic.py").write_text("class GenericPromise: WHOSE = 'its own'\n")
    body = "from slapos.grid.promise.generic import GenericPromise\nraise ValueError(GenericPromise.WHOSE)"
    for name in ("a", "b"):
        world.plugin(name, body)
        path = Path(world.plugins[name].path)
        path.write_text(path.read_text().replace("= ()", f"= ({str(tmp_path / 'egg')!r},)", 1))
    assert world.run()["a"] == (False, "ValueError: its own")


def test_plugins_learn_the_node_how_often_they_want_to_be_run(world: World) -> None:
    world.plugin("p", say="water", frequency="5")
    runner = PromiseRunner(SystemRunner(), SystemClock(), world.launcher)
    place = PartitionPlace(world.folder, frozenset(), {"PATH": "/usr/bin:/bin"})
    checks: dict[str, Check] = {**world.plugins, "c": CommandCheck(check="command", command=("true",))}
    assert runner.as_learned(checks)["p"].frequency == 120
    assert [(each.name, each.passed) for each in runner.run(place, checks)] == [("c", True), ("p", True)]
    assert {name: each.frequency for name, each in runner.as_learned(checks).items()} == {"p": 300, "c": 60}


def test_a_process_that_says_nothing_or_nonsense_fails_all(world: World) -> None:
    nonsense = Completed(Command(()), 1, '{"name": "p"}\nhello', "Traceback\nOSError: no")
    launcher = PluginLauncher(world.folder / "program", FakeRunner({"python3": nonsense}), Path("/usr/bin/python3"))
    world.plugin("p")
    answer = launcher.run(Command(()), world.plugins, anomaly=False)["p"]
    assert (answer.passed, answer.message) == (False, "The promise could not be run. OSError: no")


def test_plugins_that_take_long_do_not_keep_a_partition_from_being_stopped(world: World) -> None:
    runner = FakeRunner()
    launcher = PluginLauncher(world.folder / "program", runner, Path("/usr/bin/python3"))
    many = {f"p{number}": PluginCheck(check="plugin", path="/p.py", timeout=600) for number in range(1000)}
    launcher.run(Command(()), many, anomaly=False)
    assert (runner.commands[0].timeout or 0) < 1000
