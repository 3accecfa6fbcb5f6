"""slapos.core as the peer: its own master (`slapos proxy`), its own node, its own protocol."""

import os
import pwd
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from hashlib import md5
from pathlib import Path
from urllib.parse import urlencode
from xml.sax.saxutils import escape

from cage import Cage, CommandFailed, Program
from sides import PATH, PAYLOAD, SOFTWARE, Order, render, wait_until
from wire import Answer, Call, Client, answers, free_port

VERSION = "1.26.1"
RECIPES = SOFTWARE / "peer"
COMPUTER = "local"
MOST_PASSES = 15
NO_PARAMETERS = '<marshal><dictionary id="i2"/></marshal>'

_PLACED = re.compile(rb"<string>slap_computer_partition_id</string><string>([^<]*)")
_TITLE = re.compile(rb"<string>instance_title</string><string>([^<]*)")

CONFIGURATION = """[slapos]
software_root = {base}/soft
instance_root = {base}/inst
master_url = http://127.0.0.1:{port}
master_rest_url = http://127.0.0.1:{port}/hateoas
computer_id = {computer}
root_check = False
pidfile_software = {base}/software.pid
pidfile_instance = {base}/instance.pid
pidfile_report = {base}/report.pid
forbid_supervisord_automatic_launch = true

[slapformat]
input_definition_file = {base}/partitions.cfg
partition_amount = {partitions}
alter_user = false
alter_network = false
create_tap = false
create_tun = false
computer_xml = {base}/computer.xml

[slapproxy]
host = 127.0.0.1
port = {port}
database_uri = {base}/proxy.db
"""


class Peer:
    """Everything of it lies in `base` and runs in `cage`."""

    name = "slapos.core"

    def __init__(self, base: Path, venv: Path) -> None:
        self.base, self.venv = base, venv
        self.cage = Cage(PAYLOAD.name)
        self.port, self._payload_port = free_port(), free_port("127.78.0.1")
        self._partitions = 0
        self._client = Client(self.port)

    def start_master(self, partitions: int = 0) -> None:
        self._partitions = partitions
        for folder in ("soft", "inst"):
            (self.base / folder).mkdir(parents=True, exist_ok=True)
            (self.base / folder).chmod(0o750)
        self._write("slapos.cfg", self._configuration())
        self._start("proxy", self._slapos("proxy", "start"))
        wait_until(lambda: answers("127.0.0.1", self.port), "slapos proxy")

    def start_node(self, partitions: int) -> None:
        self.start_master(partitions)
        self._write("partitions.cfg", "\n".join(["[computer]", "address = 127.0.0.1/32", *self._definition()]))
        self._run("format", self._slapos("node", "format", "--now"))
        for name in ("one", "tree"):
            self._supply(name)
        self._run("software", self._slapos("node", "software"))
        supervisord = self._bin("supervisord"), "--nodaemon", "-c", str(self.base / "inst/etc/supervisord.conf")
        self._start("supervisord", supervisord)
        wait_until(lambda: (self.base / "inst" / "sv.sock").exists(), "supervisord")

    def order(self, order: Order) -> None:
        self._send(self.request_call(order))

    def run_pass(self) -> float:
        return self._run("instance", self._slapos("node", "instance"))

    def running(self) -> int:
        return sum(answers(_address(number), self._payload_port) for number in range(self._partitions))

    def follow(self) -> None:
        """There is no agent: cron makes a pass each minute."""

    def unfollow(self) -> None: ...

    def fulfil(self, order: Order, running: int) -> tuple[float, int]:
        """Passes follow each other at once, until one of them succeeds: cron would wait for the next minute."""
        began = time.perf_counter()
        self.order(order)
        for passes in range(1, MOST_PASSES):
            with suppress(CommandFailed):
                self.run_pass()
                if self.running() == running:
                    return time.perf_counter() - began, passes
        raise CommandFailed(f"{order} was not fulfilled by {MOST_PASSES} passes; see {self.base}/instance.log")

    def bare_buildout(self) -> float:
        profile = self.base / "inst" / "slappart0" / "buildout.cfg"
        scratch = self.base / "bare"
        scratch.mkdir(exist_ok=True)
        shutil.copy(profile, scratch)
        release = md5(str(self.base / "one" / "software.cfg").encode(), usedforsecurity=False).hexdigest()
        program = self._program("bare", [str(self.base / "soft" / release / "bin" / "buildout"), "-U"])
        seconds = self.cage.run(replace(program, cwd=scratch))
        shutil.rmtree(scratch)
        return seconds

    def format(self, partitions: int) -> None:
        items = "".join(_partition_xml(number) for number in range(partitions))
        document = (
            '<marshal><dictionary id="i2"><string>reference</string><string>local</string><string>address</string>'
            "<string></string><string>netmask</string><string></string><string>partition_list</string>"
            f'<list id="i3">{items}</list></dictionary></marshal>'
        )
        self._send(_post("loadComputerConfigurationFromXML", xml=document))
        self._supply("one")

    def request_call(self, order: Order) -> Call:
        parameters = {"text": order.text, "depth": str(order.depth)}
        entries = "".join(f"<string>{key}</string><string>{escape(text)}</string>" for key, text in parameters.items())
        return _post(
            "requestComputerPartition",
            software_release=str(self.base / order.release / "software.cfg"),
            software_type="RootSoftwareInstance",
            partition_reference=order.reference,
            partition_parameter_xml=f'<marshal><dictionary id="i2">{entries}</dictionary></marshal>',
            filter_xml=NO_PARAMETERS,
            state=f"<marshal><string>{order.state}</string></marshal>",
            shared_xml="<marshal><bool>0</bool></marshal>",
        )

    def type(self, *words: str) -> float:
        return self._run("typed", [self._bin("slapos"), *words])

    def client_configuration(self) -> Path:
        return self.base / "slapos.cfg"

    def state_call(self) -> Call:
        return Call("GET", f"/getFullComputerInformation?computer_id={COMPUTER}")

    def partition_of(self, answer: Answer) -> str:
        return b"".join(_PLACED.findall(answer.body)).decode()

    def references(self) -> set[str]:
        return {name.decode() for name in _TITLE.findall(self._send(self.state_call()).body)}

    def _bin(self, name: str) -> str:
        return str(self.venv / "bin" / name)

    def _slapos(self, first: str, second: str, *more: str) -> list[str]:
        return [self._bin("slapos"), first, second, *more, "--cfg", str(self.base / "slapos.cfg")]

    def _configuration(self) -> str:
        return CONFIGURATION.format(
            base=self.base, port=self.port, computer=COMPUTER, partitions=max(self._partitions, 1)
        )

    def _definition(self) -> Iterable[str]:
        for number in range(self._partitions):
            yield f"[partition_{number}]\naddress = {_address(number)}/32\npathname = slappart{number}"
            yield f"user = {_user()}\nnetwork_interface =\n"
            folder = self.base / "inst" / f"slappart{number}"
            folder.mkdir()
            folder.chmod(0o750)

    def _supply(self, name: str) -> None:
        words = {"PYTHON": self._bin("python"), "PROGRAM": PAYLOAD, "PORT": self._payload_port}
        url = render(RECIPES / f"{name}.cfg", self.base / name / "software.cfg", words)
        self._send(_post("supplySupply", url=str(url), computer_id=COMPUTER, state="available"))

    def _write(self, name: str, text: str) -> None:
        self.base.joinpath(name).write_text(text)

    def _send(self, call: Call) -> Answer:
        answer = self._client.send(call)
        if answer.status != 200:
            raise CommandFailed(f"slapproxy answered {answer.status} to {call.path}: {answer.body[:500]!r}")
        return answer

    def _run(self, name: str, argv: Iterable[str]) -> float:
        return self.cage.run(self._program(name, argv))

    def _start(self, name: str, argv: Iterable[str]) -> int:
        return self.cage.start(self._program(name, argv))

    def _program(self, name: str, argv: Iterable[str]) -> Program:
        env = {"PATH": f"{self.venv}/bin:{PATH}", "HOME": str(self.base), "LANG": "C.UTF-8"}
        return Program(list(argv), env, self.base, self.base / f"{name}.log")


def install(venv: Path) -> None:
    """Make the virtual environment of the peer, or bring its recipes up to date; nothing happens when it is complete."""
    marker, recipes = venv / "bench-complete", (RECIPES / "bench_recipe.py").read_text()
    if marker.exists() and marker.read_text() == recipes:
        return
    print(f"installing slapos.core {VERSION} into {venv} ...", file=sys.stderr)
    if not (venv / "bin" / "slapos").exists():
        subprocess.run([_recent_python(), "-m", "venv", "--clear", venv], check=True)
    copy = venv.parent / "recipe"
    shutil.copytree(RECIPES, copy, dirs_exist_ok=True)  # setuptools would leave its build folders in the source
    pip: list[str | Path] = [venv / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check"]
    compiler = {"CC": "cc", **os.environ}  # a Python that was built elsewhere may name one that is not here
    subprocess.run([*pip, f"slapos.core=={VERSION}", "slapos.libnetworkcache"], check=True, env=compiler)
    subprocess.run([*pip, "--force-reinstall", "--no-deps", copy], check=True)
    marker.write_text(recipes)


def _recent_python() -> str:
    """A Python of at least 3.12, without which slapos.core lacks its master and its agent."""
    own = [str(path) for path in sorted(Path.home().glob(".pyenv/versions/3.1[2-9]*/bin/python"))]
    named = [path for path in map(shutil.which, ("python3.12", "python3.13", "python3.14", "python3")) if path]
    found = [path for path in own + named if _is_recent(path)]
    if not found:
        raise CommandFailed(
            "slapos.core needs Python 3.12 or newer, and there is none on PATH or under ~/.pyenv/versions.\n"
            "Install one (for example with pyenv), or point --peer-venv to an environment that has slapos.core."
        )
    return found[0]


def _is_recent(python: str) -> bool:
    check = "import sys, venv; sys.exit(sys.version_info < (3, 12))"
    return subprocess.run([python, "-c", check], stderr=subprocess.DEVNULL, check=False).returncode == 0


def _post(path: str, **fields: str) -> Call:
    return Call("POST", f"/{path}", urlencode(fields).encode(), "application/x-www-form-urlencoded")


def _address(number: int) -> str:
    return f"127.78.{number // 250}.{number % 250 + 1}"


def _partition_xml(number: int) -> str:
    return (
        f"<dictionary><string>reference</string><string>slappart{number}</string><string>tap</string><dictionary>"
        "<string>name</string><string></string></dictionary><string>address_list</string><list><dictionary>"
        f"<string>addr</string><string>{_address(number)}</string><string>netmask</string>"
        "<string>255.255.255.255</string></dictionary></list></dictionary>"
    )


def _user() -> str:
    return pwd.getpwuid(os.getuid()).pw_name
