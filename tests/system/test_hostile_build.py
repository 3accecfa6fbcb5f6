"""Builds that take all they can get, on a node whose builds have a Unix user: they are held to limits, and it is told why.

Users take root.
"""

import pwd
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from slap.system import environment
from slap.system.processes import Mark, find_marked
from tests.interpreter import PYTHON
from tests.system.cloud import SERVICE, eventually, release
from tests.system.test_node_as_root import SOFTWARE_USER, RootNode, a_node

MIB = 1 << 20
LIMITS = """
[limits]
build_processes = 150
build_memory = 300MiB
build_descriptors = 256
build_disk = 100MiB
"""
PART = """
[buildout]
parts += attack
[attack]
recipe = slap:cmmi
path = {source}
compiler = false
configure-command = {python} -I {program} {marks}
make-command =
install-command =
"""
# Each writes down how much it got in a folder of the test, and fails when it is told to.
BEGIN = """
import os, sys, time
def end(count):
    open(sys.argv[1] + "/count", "w").write(str(count))
    while not os.path.exists(sys.argv[1] + "/go"): time.sleep(0.05)
    sys.exit(1)
"""


@dataclass(frozen=True)
class Scene:
    node: RootNode
    folder: Path
    url: Path

    @property
    def user(self) -> int:
        return pwd.getpwnam(SOFTWARE_USER).pw_uid

    def processes(self) -> list[int]:
        return find_marked(Mark("NO_SUCH_MARK", ""), self.user)

    def count(self) -> int:
        path = self.folder / "count"
        return int(path.read_text() or 0) if path.exists() else 0

    def reached(self) -> str:
        rows = self.node.cloud.slapos("node", "status", "-f", "json").json
        return " ".join(row["Limits reached"] for row in rows if row["Partition"] == "builds")

    def message(self) -> str:
        return self.node.cloud.master().supplies(url=str(self.url))[0].message


@dataclass(frozen=True)
class Attack:
    """`is_held` is asked until it is true, then the build may end; `message` is what whoever supplied it is told."""

    program: str
    is_held: Callable[[Scene], bool]
    message: str = ""


def is_reached(limit: str, scene: Scene) -> bool:
    return limit in scene.reached()


def forks_within(most: int, scene: Scene) -> bool:
    assert len(scene.processes()) <= most
    return 0 < scene.count() <= most and is_reached("processes", scene)


ATTACKS = {
    "fork": Attack(
        "count = 0\nwhile True:\n  try:\n    if os.fork() == 0: time.sleep(1000)\n    count += 1\n"
        "  except OSError: end(count)",
        partial(forks_within, 150),
        "its limit is processes = 150",
    ),
    "memory": Attack(
        f"kept = b'x' * {600 * MIB}\nend(1)", partial(is_reached, "memory"), "its limit is memory = 300 MiB"
    ),
    "descriptors": Attack(
        "kept = []\nwhile True:\n  try: kept.append(open('/dev/null'))\n  except OSError:\n    most = len(kept)\n"
        "    del kept[-5:]\n    end(most)",
        lambda scene: 200 < scene.count() <= 256,
    ),
    "disk": Attack(
        f"for number in range(3000): open(f'filler{{number}}', 'wb').write(bytes({MIB}))\nend(1)",
        partial(is_reached, "disk"),
        "its limit is disk = 100 MiB",
    ),
}

if environment.is_root():

    @pytest.fixture(scope="module")
    def node() -> Iterator[RootNode]:
        with a_node(LIMITS) as made:
            yield made

    @pytest.mark.parametrize("name", ATTACKS)
    def test_a_build_that_takes_all_fails_with_the_limit_and_the_next_one_succeeds(node: RootNode, name: str) -> None:
        attack, folder = ATTACKS[name], node.cloud.folder / f"release-{name}"
        marks, source = folder / "marks", folder / "source"
        marks.mkdir(parents=True)
        marks.chmod(0o777)
        source.mkdir()
        (source / "attack.py").write_text(BEGIN + attack.program)
        url = release(folder, SERVICE)
        with url.open("a") as file:
            file.write(PART.format(source=source, python=PYTHON, program=source / "attack.py", marks=marks))
        scene = Scene(node, marks, url)
        node.cloud.slapos("supply", str(url), node.cloud.computer)
        eventually(partial(attack.is_held, scene), 100, 0.1)
        (marks / "go").touch()
        eventually(lambda: attack.message in scene.message() and scene.message(), 60)
        node.cloud.slapos("remove", str(url), node.cloud.computer)
        eventually(lambda: not scene.processes(), 60)
        node.cloud.supply(release(node.cloud.folder / f"good-{name}", SERVICE))

else:

    def test_without_root_rights_builds_have_no_user_of_their_own() -> None:
        assert not environment.is_root()
