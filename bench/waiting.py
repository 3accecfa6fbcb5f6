"""bench/master --only polls,tls-polls: nodes that wait for news, as many as one master process may have connections.

Each node is a computer of its own with an address of its own. N is how many there are: fewer than wanted where the
limit of open files of one process does not allow more.
"""

import json
import random
import ssl
import time
from collections.abc import Sequence
from http.client import HTTPSConnection
from pathlib import Path
from statistics import median
from typing import Any

import load
from cage import Cage, Program
from long_polls import Computer, LongPolls, allow_polls
from ours import VENV
from results import OURS, Results
from sides import PATH, wait_until
from surroundings import folder
from wire import Call, Client, answers, free_port

CHANGES = 50
QUIET = 1.0  # seconds
IDLE_SECONDS = 20
MIB = 1 << 20
NOTES = (
    "Polls: N computers wait 60 s each, and again. Memory is PSS of the master beside what it had before they connected.",
    "Polls: a wake-up is from the sending of a change to its node's having the answer, while all others wait.",
)


class Master:
    """`slapos master start` on SQLite, with one user."""

    def __init__(self, base: Path, tls: bool = False) -> None:
        self.cage = Cage("no services", watch=False)
        self.port, self._tls, self._base = free_port(), tls, base
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self._client, self._tls_client = Client(self.port), HTTPSConnection("127.0.0.1", self.port, context=context)
        (base / "slapos.cfg").write_text(
            f"[master]\ndatabase_url = sqlite:///{base}/master.sqlite\nport = {self.port}\n"
            f"tls = {'own' if tls else 'off'}\nrelease_folders = {base}\nrelease_networks = 127.0.0.0/8\n"
        )
        self.cage.start(self._program("master", "start"))
        wait_until(lambda: answers("127.0.0.1", self.port), "slapos master")
        self.token = self.new_user("admin")

    def new_user(self, name: str) -> str:
        path = self._base / f"{name}.token"
        self.cage.run(self._program("master", "user", name, "--token-file", str(path)))
        return path.read_text().strip()

    def new_computers(self, count: int) -> list[Computer]:
        bodies = [json.dumps({"title": f"node{number}"}).encode() for number in range(count)]
        if self._tls:
            made = self._ask_over_tls([("POST", "/computers", body) for body in bodies])
        else:
            calls = [Call("POST", "/api/v1/computers", body, token=self.token) for body in bodies]
            made = [json.loads(answer.body) for answer in load.apply(self.port, calls, 4).check().answers]
        return [Computer(each["guid"], each["token"]) for each in made]

    def change(self, computer: Computer) -> None:
        """One change of what a computer is to have."""
        path, body = f"/computers/{computer.guid}/bang", b'{"message": ""}'
        if self._tls:
            self._ask_over_tls([("POST", path, body)])
        else:
            self._client.send(Call("POST", f"/api/v1{path}", body, token=self.token))

    def _ask_over_tls(self, asked: Sequence[tuple[str, str, bytes]]) -> list[Any]:
        got = []
        for method, path, body in asked:
            headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
            self._tls_client.request(method, f"/api/v1{path}", body, headers)
            got.append(json.loads(self._tls_client.getresponse().read()))
        self._tls_client.close()
        return got

    def _program(self, *words: str) -> Program:
        argv = [str(VENV / "bin" / "slapos"), *words, "--cfg", str(self._base / "slapos.cfg")]
        env = {"PATH": f"{VENV}/bin:{PATH}", "HOME": str(self._base), "LANG": "C.UTF-8"}
        return Program(argv, env, self._base, self._base / "master.log")


def measure(results: Results, size: int, tls: bool) -> None:
    results.notes += [note for note in NOTES if note not in results.notes]
    count = allow_polls(size)
    with folder("polls") as base:
        master = Master(base, tls)
        try:
            _measure(results, master, count, "long polls over TLS" if tls else "long polls")
        finally:
            master.cage.close()


def _measure(results: Results, master: Master, count: int, what: str) -> None:
    computers = master.new_computers(count)
    before = master.cage.memory()
    polls = LongPolls(master.port, computers, "TLS" in what)
    try:
        wait_until(lambda: polls.waiting() == count, "all polls to wait")
        time.sleep(QUIET)
        memory = master.cage.memory() - before

        def add(measured: str, unit: str, value: float) -> None:
            results.add(OURS, f"{what}: {measured}", count, unit, value)

        add("memory more than without", "MiB", memory / MIB)
        add("memory of each", "KiB", memory / count / 1024)
        wakes = [_wake(master, polls, computers, number) for number in random.Random(1).sample(range(count), CHANGES)]
        add("wake-up, median of 50", "ms", 1000 * median(wakes))
        add("wake-up, longest of 50", "ms", 1000 * max(wakes))
        began, cpu = polls.answers(), master.cage.cpu()
        time.sleep(IDLE_SECONDS)
        add("answers while idle", "1/s", (polls.answers() - began) / IDLE_SECONDS)
        add("processor while idle", "%", 100 * (master.cage.cpu() - cpu) / IDLE_SECONDS)
    finally:
        polls.close()


def _wake(master: Master, polls: LongPolls, computers: Sequence[Computer], number: int) -> float:
    """Seconds from a change to its being known at the node."""
    polls.expect_news([number])
    began = time.perf_counter()
    master.change(computers[number])
    (told_at,) = polls.wait_for_news()
    return told_at - began
