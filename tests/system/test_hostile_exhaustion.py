"""Partitions that take all they can get, on a node with Unix users: each is held to its limits, its neighbour goes on.

A row is a program that its partition's service is, what is requested for it, and what must come of it. Users take root.
"""

import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from slap.system import environment
from slap.system.host.proc import is_alive
from tests.interpreter import PYTHON
from tests.system.cloud import eventually, release
from tests.system.test_node_as_root import NETWORK, RootNode, a_node

MIB = 1 << 20
PORT = 8091

PROFILE = f"""\
[buildout]
parts = service
[service]
recipe = slap:service
command-line = {PYTHON} -I %s
"""
# Of either partition: it is told which one by the user that it runs as.
NEIGHBOUR = f"""\
import os, pwd, socket
number = int(pwd.getpwuid(os.getuid()).pw_name[-1])
server = socket.create_server((f"{NETWORK}.{{number + 2}}", {PORT}))
while True:
    with server.accept()[0] as caller: caller.sendall(b"here")
"""


@dataclass
class Scene:
    """A neighbour that answers each caller, and the attacker's partition."""

    node: RootNode
    neighbour: int  # process id

    @property
    def number(self) -> int:
        return self.node.number("attacker")

    @property
    def folder(self) -> Path:
        return self.node.folder(self.number)

    @property
    def other(self) -> int:
        return self.node.number("neighbour")

    def message(self) -> str:
        return self.node.cloud.master().instances("attacker")[0].message

    def logged(self) -> int:
        """Bytes in the logs of the attacker."""
        logs = self.node.config.partition_logs / f"slappart{self.number}"
        return sum(each.stat().st_size for each in logs.iterdir())

    def wrote(self, name: str) -> int:
        """A number that the attacker wrote down."""
        path = self.folder / name
        return int(path.read_text() or 0) if path.exists() else 0

    def neighbour_answers(self) -> bool:
        with socket.create_connection((f"{NETWORK}.{self.other + 2}", PORT), 10) as caller:
            return caller.recv(10) == b"here" and is_alive(self.neighbour)


@dataclass(frozen=True)
class Attack:
    """`program` is Python, and begins anew when it ends; `is_held` tells whether the node held it to its limits."""

    program: str
    limits: tuple[str, ...]
    is_held: Callable[[Scene], bool]


_COUNTED = """
import itertools, time
def until_refused(take):
    kept = []
    for count in itertools.count():
        try:
            kept.append(take())
        except OSError:
            del kept[-3:]
            open("count", "w").write(str(count))
            time.sleep(1000)
"""

ATTACKS = {
    "fork": Attack(
        "import os, time\nwhile True:\n  try:\n    if os.fork() == 0: time.sleep(1000)\n"
        "  except OSError:\n    open('count', 'w').write('1'); time.sleep(0.2)",
        ("processes=60",),
        lambda scene: scene.wrote("count") == 1 and len(scene.node.processes(scene.number)) <= 60,
    ),
    "memory": Attack(
        f"import time\nkept = b'x' * {600 * MIB}\ntime.sleep(1000)",
        ("memory=300MiB",),
        lambda scene: "its limit is memory = 300 MiB" in scene.message(),
    ),
    "memory in small processes": Attack(
        "import os, time\nfor _ in range(12):\n  if os.fork() == 0:\n"
        f"    kept = b'x' * {50 * MIB}\n    time.sleep(1000)\ntime.sleep(1000)",
        ("memory=300MiB",),
        lambda scene: "its limit is memory = 300 MiB" in scene.message(),
    ),
    "descriptors": Attack(
        f"{_COUNTED}\nuntil_refused(lambda: open('/dev/null'))",
        ("descriptors=256",),
        lambda scene: 200 < scene.wrote("count") <= 256,
    ),
    "disk": Attack(
        f"import time\nwith open('filler', 'wb') as file:\n  for _ in range(600): file.write(bytes({MIB}))\ntime.sleep(1000)",
        ("disk=100MiB",),
        lambda scene: "its limit is disk = 100 MiB" in scene.message() and not scene.node.processes(scene.number),
    ),
    "inotify": Attack(
        f"{_COUNTED}\nimport ctypes, os\nlibc = ctypes.CDLL(None)\n"
        "def take():\n  if (found := libc.inotify_init()) < 0: raise OSError\n  return found\nuntil_refused(take)",
        ("descriptors=256",),
        lambda scene: 0 < scene.wrote("count") <= 256,
    ),
    "ports": Attack(
        f"{_COUNTED}\nimport socket\nuntil_refused(lambda: socket.create_server(('', 0)))",
        ("descriptors=256",),
        lambda scene: 0 < scene.wrote("count") <= 256,
    ),
    "log flood": Attack(
        f"import time\nfor _ in range(70): print('x' * {MIB}, flush=True)\nopen('count', 'w').write('1')\ntime.sleep(1000)",
        (),
        lambda scene: scene.wrote("count") == 1 and scene.logged() < 50 * MIB,
    ),
    "daemons that hide": Attack(
        "import os, time\nopen('starts', 'a').write('x')\n"
        "for _ in range(3): os.system('env -i setsid -f sleep 1000')\ntime.sleep(1.1)",
        (),
        lambda scene: (
            (scene.folder / "starts").exists()
            and (scene.folder / "starts").stat().st_size > 3
            and len(scene.node.processes(scene.number)) <= 8
        ),
    ),
}

if environment.is_root():

    @pytest.fixture(scope="module")
    def scene() -> Iterator[Scene]:
        with a_node() as node:
            folder = node.cloud.folder
            (folder / "neighbour.py").write_text(NEIGHBOUR)
            profile = release(folder / "neighbour", PROFILE % (folder / "neighbour.py"))
            node.cloud.supply(profile)
            node.cloud.slapos("request", "neighbour", str(profile))
            made = Scene(node, 0)
            (made.neighbour,) = eventually(lambda: node.processes(made.other))
            eventually(made.neighbour_answers)
            yield made

    @pytest.mark.parametrize("name", ATTACKS)
    def test_who_takes_all_is_held_to_its_limits_and_its_neighbour_goes_on(scene: Scene, name: str) -> None:
        attack, cloud = ATTACKS[name], scene.node.cloud
        program = cloud.folder / f"{name.replace(' ', '-')}.py"
        program.write_text(attack.program)
        profile = release(cloud.folder / program.stem, PROFILE % program)
        cloud.supply(profile)
        limits = ("--limit", *attack.limits) if attack.limits else ()
        cloud.slapos("request", "attacker", str(profile), "--no-wait", *limits, check=False)
        eventually(lambda: cloud.master().instances("attacker")[0].partition)
        eventually(partial(attack.is_held, scene), 100, 0.1)  # all are looked at every minute at least
        assert scene.neighbour_answers()
        cloud.slapos("service", "destroy", "attacker")
        assert scene.node.processes(0 if scene.other else 1) == []

    def test_more_than_the_owner_allows_is_refused_in_words(scene: Scene) -> None:
        cloud = scene.node.cloud
        profile = cloud.folder / "neighbour/software.cfg"
        cloud.slapos("request", "attacker", str(profile), "--no-wait", "--limit", "processes=100000", check=False)
        message = eventually(lambda: scene.message() if "owner" in scene.message() else "")
        assert "processes = 100000, at most 2048" in message
        assert scene.node.processes(scene.number) == []
        cloud.slapos("service", "destroy", "attacker")

    def test_limits_are_shown(scene: Scene) -> None:
        cloud = scene.node.cloud
        computer = cloud.slapos("computer", "info", cloud.computer).stdout
        assert "Limits of a partition" in computer
        assert "2048, at most 2048" in computer
        assert "Limits" in cloud.slapos("service", "info", "neighbour").stdout

    def test_limits_that_change_hold_for_what_runs_without_a_restart(scene: Scene) -> None:
        cloud = scene.node.cloud
        profile = str(cloud.folder / "neighbour/software.cfg")
        cloud.slapos("request", "neighbour", profile, "--limit", "cpu-weight=50")
        eventually(lambda: os.getpriority(os.PRIO_PROCESS, scene.neighbour) == 3)
        assert scene.neighbour_answers()

else:

    def test_without_root_rights_there_is_no_user_to_limit() -> None:
        assert not environment.is_root()
