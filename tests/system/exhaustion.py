"""Partitions that take all they can get, beside a neighbour that serves, on a node with Unix users. It takes root.

An attack is the service of its partition: it begins anew when it ends, and goes on taking when it is refused more.
"""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from slap.system.host.proc import is_alive
from tests.interpreter import PYTHON
from tests.system.cloud import eventually, release
from tests.system.test_node_as_root import NETWORK, RootNode, a_node

MIB = 1 << 20
PORT = 8091
ANSWER = b"here"

PROFILE = f"""\
[buildout]
parts = service
[service]
recipe = slap:service
command-line = {PYTHON} -I %s
"""
# It is told by the user that it runs as which partition it is in.
NEIGHBOUR = f"""\
import os, pwd, socket
number = int(pwd.getpwuid(os.getuid()).pw_name[-1])
server = socket.create_server((f"{NETWORK}.{{number + 2}}", {PORT}))
while True:
    with server.accept()[0] as caller: caller.sendall({ANSWER!r})
"""


@dataclass(frozen=True)
class Attack:
    """`program` is Python; `limits` are what is requested for it."""

    program: str
    limits: tuple[str, ...] = ()


# Takes until it is refused, writes down how many it got at most, gives some back and takes again.
_COUNTED = """
def take_for_ever(take):
    kept, most = [], 0
    while True:
        try:
            kept.append(take())
        except OSError:
            del kept[-10:]
            if len(kept) > most:
                most = len(kept)
                open("count", "w").write(str(most + 10))
"""

ATTACKS = {
    "fork": Attack(
        "import os\nwhile True:\n  try: os.fork()\n  except OSError: pass",
        ("processes=60",),
    ),
    "memory": Attack(
        f"kept = bytearray({1000 * MIB})\nwhile True:\n  for place in range(0, len(kept), 4096): kept[place] = 1",
        ("memory=300MiB",),
    ),
    "memory in small processes": Attack(
        "import os, time\nfor _ in range(12):\n  if os.fork() == 0:\n"
        f"    kept = b'x' * {50 * MIB}\n    time.sleep(1000)\ntime.sleep(1000)",
        ("memory=300MiB",),
    ),
    "descriptors": Attack(
        f"{_COUNTED}\ntake_for_ever(lambda: open('/dev/null'))",
        ("descriptors=4096",),
    ),
    "disk": Attack(
        "import time\nwith open('filler', 'wb', 0) as file:\n"
        f"  for _ in range(3000): file.write(bytes({MIB}))\ntime.sleep(1000)",
        ("disk=100MiB",),
    ),
    "many files": Attack(
        "import itertools, os\nfor number in itertools.count():\n"
        "  os.makedirs(f'many/{number // 1000}', exist_ok=True)\n  open(f'many/{number // 1000}/{number}', 'w').close()",
        ("disk=100MiB",),
    ),
    "inotify": Attack(
        f"{_COUNTED}\nimport ctypes, os\nlibc = ctypes.CDLL(None)\n"
        "class Instance:\n  def __init__(self):\n    self.number = libc.inotify_init()\n"
        "    if self.number < 0: raise OSError\n  def __del__(self):\n    if self.number >= 0: os.close(self.number)\n"
        "take_for_ever(Instance)",
        ("descriptors=4096",),
    ),
    "ports": Attack(
        f"{_COUNTED}\nimport socket\ntake_for_ever(lambda: socket.create_server(('', 0)))",
        ("descriptors=4096",),
    ),
    "log flood": Attack(f"while True: print('x' * {MIB}, flush=True)"),
}


@dataclass
class Scene:
    """A neighbour that answers each caller, and the attacker's partition."""

    node: RootNode
    neighbour: int = 0  # process id

    @property
    def number(self) -> int:
        return self.node.number("attacker")

    @property
    def folder(self) -> Path:
        return self.node.folder(self.number)

    @property
    def other(self) -> int:
        return self.node.number("neighbour")

    @property
    def address(self) -> tuple[str, int]:
        """That of the neighbour."""
        return f"{NETWORK}.{self.other + 2}", PORT

    def begin(self, name: str, attack: Attack) -> None:
        """Have the attack run in its partition."""
        cloud = self.node.cloud
        program = cloud.folder / f"{name.replace(' ', '-')}.py"
        program.write_text(attack.program)
        profile = release(cloud.folder / program.stem, PROFILE % program)
        cloud.supply(profile)
        limits = ("--limit", *attack.limits) if attack.limits else ()
        cloud.slapos("request", "attacker", str(profile), "--no-wait", *limits, check=False)
        eventually(lambda: cloud.master().instances("attacker")[0].partition)
        eventually(lambda: self.node.processes(self.number))

    def end(self) -> None:
        self.node.cloud.slapos("service", "destroy", "attacker")

    def message(self) -> str:
        return self.node.cloud.master().instances("attacker")[0].message

    def info(self) -> str:
        """What the attacker's owner is shown of the service, in one line."""
        return " ".join(self.node.cloud.slapos("service", "info", "attacker").stdout.split())

    def logged(self) -> int:
        """Bytes in the logs of the attacker."""
        logs = self.node.config.partition_logs / f"slappart{self.number}"
        return sum(each.stat().st_size for each in logs.iterdir())

    def reached(self) -> str:
        """Which limits the node counted of the attacker's partition."""
        rows = self.node.cloud.slapos("node", "status", "-f", "json").json
        return " ".join(row["Limits reached"] for row in rows if row["Partition"] == f"slappart{self.number}")

    def wrote(self, name: str) -> int:
        """A number that the attacker wrote down."""
        path = self.folder / name
        return int(path.read_text() or 0) if path.exists() else 0

    def neighbour_answers(self) -> bool:
        with socket.create_connection(self.address, 10) as caller:
            return caller.recv(10) == ANSWER and is_alive(self.neighbour)


@contextmanager
def neighbour_and_attacker() -> Iterator[Scene]:
    """A node of two partitions, one of which serves."""
    with a_node() as node:
        folder = node.cloud.folder
        (folder / "neighbour.py").write_text(NEIGHBOUR)
        profile = release(folder / "neighbour", PROFILE % (folder / "neighbour.py"))
        node.cloud.supply(profile)
        node.cloud.slapos("request", "neighbour", str(profile))
        scene = Scene(node)
        (scene.neighbour,) = eventually(lambda: node.processes(scene.other))
        eventually(scene.neighbour_answers)
        yield scene
