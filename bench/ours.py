"""This project as one side of the comparison: its master for one machine, its node, its API."""

import json
import shutil
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cage import Cage, CommandFailed, Program
from sides import PATH, PAYLOAD, ROOT, SOFTWARE, Order, render, wait_until
from wire import Answer, Call, Client, answers, free_port

RELEASE = SOFTWARE / "ours"
VENV = ROOT / ".venv"
DEEPEST = 5
PATIENCE = 120.0  # for one order to run, in seconds
QUIET = 0.05  # seconds of CPU within a second
API = "/api/v1"


class Ours:
    """Everything of it lies in `base` and runs in `cage`."""

    name = "this project"

    def __init__(self, base: Path) -> None:
        self.base = base
        self.cage = Cage(PAYLOAD.name)
        self.port, self._payload_port = free_port(), free_port("127.77.0.1")
        self._client = Client(self.port)
        self._computer, self._computer_token, self._agent, self._partitions = "", "", 0, 0

    def start_master(self) -> None:
        folder = str(self.base / "proxy")
        options = ["--port", str(self.port), "--folder", folder, "--client-cfg", str(self.base / "client.cfg")]
        self._start("proxy", ["proxy", "start", *options])
        wait_until(lambda: answers("127.0.0.1", self.port), "slapos proxy")

    def start_node(self, partitions: int) -> None:
        self._partitions = partitions
        self.start_master()
        number = ["--partition-number", str(partitions), "--root", str(self.base / "node")]
        self._run("register", ["node", "register", "bench", *number, "--cfg", str(self.base / "client.cfg")])
        self._computer = self._api("GET", "/computers")[0]["guid"]
        self._run_node("format")
        for release in (self._render_one(), self._render_tree()):
            self._supply(release)
        self._run_node("software")

    def order(self, order: Order) -> None:
        self._send(self.request_call(order))

    def run_pass(self) -> float:
        return self._run_node("instance", "--timeout", "600")

    def running(self) -> int:
        uses = self._api("GET", f"/computers/{self._computer}")["partitions"]
        return sum(answers(use["partition"]["ipv4"][0], self._payload_port) for use in uses)

    def follow(self) -> None:
        self._agent = self._start("agent", ["node", "agent", *self._node_cfg])
        wait_until(self._is_quiet, "slapos node agent to have nothing more to do")

    def unfollow(self) -> None:
        self.cage.end(self._agent)

    def fulfil(self, order: Order, running: int) -> tuple[float, int]:
        """The agent acts on the order as it comes; we follow the tree by long poll, as `slapos request` does."""
        began = time.perf_counter()
        guid, since = self._json(self.request_call(order))["guid"], 0
        while time.perf_counter() < began + PATIENCE:
            tree = self._api("GET", f"/instances/{guid}/tree?since={since}&wait=10")
            since, reached = tree["revision"], [instance["status"] for instance in tree["instances"]]
            if len(reached) == order.depth and set(reached) == {"started"}:
                return time.perf_counter() - began, 0
        raise CommandFailed(f"{order} did not run within {PATIENCE:g} s; see {self.base}")

    def bare_buildout(self) -> float:
        """`bin/buildout` as anybody would type it; the generated profile names the partition, so that is overridden."""
        profile = next(iter(sorted(self.base.glob("node/srv/*/buildout.cfg"))))
        scratch = self.base / "bare"
        scratch.mkdir(exist_ok=True)
        shutil.copy(profile, scratch)
        argv = [str(VENV / "bin" / "buildout"), "-U", f"buildout:directory={scratch}"]
        seconds = self.cage.run(Program(argv, self._env, scratch, self.base / "bare.log"))
        shutil.rmtree(scratch)
        return seconds

    def format(self, partitions: int) -> None:
        if not self._computer:
            registered = self._api("POST", "/computers", {"title": "bench"})
            self._computer, self._computer_token = registered["guid"], registered["token"]
            self._supply(self._render_one())
        configuration = {"partitions": [_partition(number) for number in range(partitions)]}
        call = _call("PUT", f"/computers/{self._computer}/configuration", self._computer_token, configuration)
        self._send(call)

    def request_call(self, order: Order) -> Call:
        request = {
            "reference": order.reference,
            "software_release": self._url("tree" if order.depth > 1 else "one"),
            "software_type": f"depth{order.depth}" if order.depth > 1 else "default",
            "parameters": {"text": order.text},
            "state": order.state,
        }
        return _call("POST", "/instances", self._token, request)

    def type(self, *words: str) -> float:
        return self._run("typed", words)

    def client_configuration(self) -> Path:
        return self.base / "client.cfg"

    def state_call(self) -> Call:
        return _call("GET", f"/computers/{self._computer}/state?since=0&wait=0", self._computer_token)

    def changes_call(self) -> Call:
        """What changed since the last revision: nothing, as a node is told between two orders."""
        revision = self._json(self.state_call())["revision"]
        return _call("GET", f"/computers/{self._computer}/state?since={revision}&wait=0", self._computer_token)

    def partition_of(self, answer: Answer) -> str:
        return str(json.loads(answer.body)["partition"])

    def references(self) -> set[str]:
        return {instance["reference"] for instance in self._json(self.state_call())["instances"]}

    @property
    def _token(self) -> str:
        return self.base.joinpath("proxy", "admin.token").read_text().strip()

    @property
    def _env(self) -> dict[str, str]:
        return {"PATH": f"{VENV}/bin:{PATH}", "HOME": str(self.base), "LANG": "C.UTF-8"}

    @property
    def _node_cfg(self) -> list[str]:
        return ["--cfg", str(self.base / "node" / "etc" / "slapos.cfg")]

    def _is_quiet(self) -> bool:
        """Whether next to nothing was done for a second: start-up is over."""
        before = self.cage.cpu()
        time.sleep(1)
        return self.cage.cpu() - before < QUIET

    def _url(self, release: str) -> str:
        return str(self.base / release / "software.cfg")

    def _words(self, release: str) -> dict[str, object]:
        python = sys.executable
        return {"PYTHON": python, "PROGRAM": PAYLOAD, "PORT": self._payload_port, "FOLDER": self.base / release}

    def _render_one(self) -> str:
        for name in ("software.cfg", "instance.cfg.in"):
            render(RELEASE / name, self.base / "one" / name, self._words("one"))
        return self._url("one")

    def _render_tree(self) -> str:
        folder, depths = self.base / "tree", [f"depth{depth}" for depth in range(2, DEEPEST + 1)]
        words = {**self._words("tree"), "DEPTHS": " ".join(depths)}
        render(RELEASE / "instance.cfg.in", folder / "instance.cfg.in", words)
        profile = render(RELEASE / "tree.cfg", folder / "software.cfg", words)
        with profile.open("a") as software:
            for child, depth in zip(["default", *depths], depths, strict=False):
                source = f"{folder}/instance-{depth}.cfg.in"
                render(RELEASE / "tree-instance.cfg.in", Path(source), {**words, "CHILD": child})
                software.write(
                    f"\n[{depth}]\nrecipe = slap:template\ninput = {source}\noutput = instance-{depth}.cfg\n"
                )
        return self._url("tree")

    def _supply(self, url: str) -> None:
        self._api("PUT", "/supplies", {"url": url, "computer": self._computer})

    def _api(self, method: str, path: str, body: object = None) -> Any:
        return self._json(_call(method, path, self._token, body))

    def _json(self, call: Call) -> Any:
        return json.loads(self._send(call).body)

    def _send(self, call: Call) -> Answer:
        answer = self._client.send(call)
        if answer.status >= 300:
            raise CommandFailed(f"the master answered {answer.status} to {call.path}: {answer.body[:500]!r}")
        return answer

    def _run_node(self, command: str, *options: str) -> float:
        return self._run(command, ["node", command, *self._node_cfg, *options])

    def _run(self, name: str, words: Iterable[str]) -> float:
        return self.cage.run(self._program(name, words))

    def _start(self, name: str, words: Iterable[str]) -> int:
        return self.cage.start(self._program(name, words))

    def _program(self, name: str, words: Iterable[str]) -> Program:
        return Program([str(VENV / "bin" / "slapos"), *words], self._env, self.base, self.base / f"{name}.log")


def check_installed() -> None:
    if not (VENV / "bin" / "slapos").exists():
        raise CommandFailed(f"There is no {VENV}/bin/slapos. Type `make install` first.")


def _call(method: str, path: str, token: str, body: object = None) -> Call:
    return Call(method, API + path, json.dumps(body).encode() if body is not None else b"", token=token)


def _partition(number: int) -> dict[str, object]:
    return {"name": f"slappart{number}", "ipv4": [f"127.77.{number // 250}.{number % 250 + 1}"]}
