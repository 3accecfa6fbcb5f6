"""bench/master --only hostile: what one tenant and N slow strangers do to another tenant, all at once.

The tenant sends what costs a master most: large and unfinished bodies, releases with hostile schemas and parameters for
them, releases as large as they may be and at servers that drip, reports with odd values, hundreds of polls, and wakes
those. It has stored a hundred instances with a MiB of parameters each, and asks for all of them at once.
"""

import json
import multiprocessing
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import quantiles

from cage import CommandFailed
from long_polls import SPARE_DESCRIPTORS, allow_polls
from results import OURS, Results
from strangers import strangers
from surroundings import folder
from waiting import MIB, Master
from wire import Call, Client

SECONDS = 30
PAUSE = 0.02
LOOK_SECONDS = 0.25  # between two looks at the memory
POLLS = 300
UNFINISHED = 40
LARGE_INSTANCES, LARGE_PARAMETERS = 100, "x" * ((1 << 20) - 100)
LARGE_RELEASES, LARGE_TYPES, LARGE_PROPERTIES = 25, 4, 3500
NOTES = (
    "Hostile: another tenant asks for its list of instances and repeats an order, one after the other, for 30 s each.",
    "Hostile: memory is the most PSS of the master with its workers, looked at four times a second, beside what it was idle.",
)
SCHEMA = {
    "type": "object",
    "properties": {
        "pattern": {"type": "string", "pattern": "^(a+)+$"},
        "many": {"type": "array", "uniqueItems": True},
        "nest": {"anyOf": [{"anyOf": [{"$ref": "#/definitions/loop"}] * 8}] * 8},
    },
    "definitions": {
        "loop": {"anyOf": [{"type": "object", "additionalProperties": {"$ref": "#/definitions/loop"}}] * 4}
    },
}
PARAMETERS = (
    {"pattern": "a" * 40 + "!"},
    {"many": [{"a": number} for number in range(4000)]},
    {"nest": {"a": {"a": {"a": {"a": {"a": {"a": 1}}}}}}},
)


def measure(results: Results, size: int) -> None:
    results.notes += [note for note in NOTES if note not in results.notes]
    allow_polls(4 * size + SPARE_DESCRIPTORS)
    with folder("hostile") as base, _dripping_server() as url:
        master = Master(base)
        try:
            _measure(results, master, _Tenant(master, base, url), size)
        finally:
            master.cage.close()


def _measure(results: Results, master: Master, tenant: "_Tenant", size: int) -> None:
    other = _Other(master, tenant.release)
    time.sleep(1)
    idle = master.cage.memory()
    tenant.store()
    _add(results, "another tenant, alone", size, other.ask())
    with strangers(master.port, size), tenant.attacks():
        done: list[list[float]] = []
        asking = threading.Thread(target=lambda: done.append(other.ask()))
        asking.start()
        most = idle
        while asking.is_alive():
            most = max(most, master.cage.memory())
            asking.join(LOOK_SECONDS)
    if not done:
        raise CommandFailed("The other tenant was not answered; see above.")
    _add(results, "another tenant, amid all of it", size, done[0])
    results.add(OURS, "memory idle", size, "MiB", idle / MIB)
    results.add(OURS, "memory more than idle, at most", size, "MiB", (most - idle) / MIB)
    results.add(OURS, "attacks that were answered", size, "", tenant.answered.value)


def _add(results: Results, who: str, size: int, latencies: list[float]) -> None:
    cuts = quantiles(latencies, n=100, method="inclusive")
    results.add(OURS, f"{who}: p50", size, "ms", 1000 * cuts[49])
    results.add(OURS, f"{who}: p99", size, "ms", 1000 * cuts[98])
    results.add(OURS, f"{who}: longest", size, "ms", 1000 * max(latencies))


class _Other:
    """Another tenant, with a computer and one instance."""

    def __init__(self, master: Master, release: str) -> None:
        self._port = master.port
        token = master.new_user("other")
        node = _json(master.port, token, "POST", "/computers", {"title": "other"})
        partitions = [{"name": "slappart0", "ipv4": ["127.9.0.1"], "ipv6": []}]
        _json(master.port, token, "PUT", f"/computers/{node['guid']}/configuration", {"partitions": partitions})
        plain = _write_release(Path(release).parent.parent / "plain", {"type": "object"})
        _json(master.port, token, "PUT", "/supplies", {"url": plain, "computer": node["guid"]})
        self._order = _call(token, "POST", "/instances", {"reference": "mine", "software_release": plain})
        self._list = _call(token, "GET", "/instances")

    def ask(self) -> list[float]:
        """The seconds of each request; one that is not answered well ends it."""
        client, latencies = Client(self._port, patience=60), []
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            for call in (self._order, self._list):
                began = time.perf_counter()
                answer = client.send(call)
                latencies.append(time.perf_counter() - began)
                if answer.status >= 300:
                    raise CommandFailed(f"{call.path}: {answer.status} {answer.body[:200]!r}")
            time.sleep(PAUSE)
        return latencies


class _Tenant:
    """The hostile one: a user with a computer of its own."""

    def __init__(self, master: Master, base: Path, dripping: str) -> None:
        self.answered = multiprocessing.Value("i", 0)
        self._port, self._token, self._dripping = master.port, master.new_user("eve"), dripping
        node = _json(master.port, self._token, "POST", "/computers", {"title": "eve"})
        self._node, self._node_token = node["guid"], node["token"]
        names = (f"slappart{number}" for number in range(LARGE_INSTANCES + 9))
        partitions = [{"name": name, "ipv4": ["127.8.0.1"], "ipv6": []} for name in names]
        self._send(_call(self._token, "PUT", f"/computers/{self._node}/configuration", {"partitions": partitions}))
        self.release = _write_release(base / "hostile", SCHEMA)
        self._large_releases = [_write_large_release(base / f"large{number}") for number in range(LARGE_RELEASES)]

    def store(self) -> None:
        """What its lists are long of."""
        plain = _write_release(Path(self.release).parent.parent / "large", {"type": "object"})
        _json(self._port, self._token, "PUT", "/supplies", {"url": plain, "computer": self._node})
        for number in range(LARGE_INSTANCES):
            order = {"reference": f"large{number}", "software_release": plain, "parameters": {"a": LARGE_PARAMETERS}}
            _json(self._port, self._token, "POST", "/instances", order)

    @contextmanager
    def attacks(self) -> Iterator[None]:
        """All at once, each in a process of its own, until the block ends."""
        context = multiprocessing.get_context("fork")
        attacks = (
            *(self.validate, self.supply, self.supply_large, self.fill, self.poll, self.wake, self.report),
            *(self.journal, self.list_all, self.list_all, self.read_state, self.read_classic),
        )
        processes = [context.Process(target=_repeat, args=(attack,), daemon=True) for attack in attacks]
        for process in processes:
            process.start()
        try:
            yield
        finally:
            for process in processes:
                process.kill()
                process.join()

    def validate(self) -> None:
        """Parameters that take a schema for ever."""
        supply = {"url": self.release, "computer": self._node}
        self._send(_call(self._token, "PUT", "/supplies", supply))
        for number, parameters in enumerate(PARAMETERS):
            order = {"reference": f"r{number}", "software_release": self.release, "parameters": parameters}
            self._send(_call(self._token, "POST", "/instances", order))
            self._send(_call(self._token, "POST", "/plans", order))

    def supply(self) -> None:
        """Releases at a server that answers a byte now and then."""
        url = f"{self._dripping}/{time.monotonic_ns()}/software.cfg"
        self._send(_call(self._token, "PUT", "/supplies", {"url": url, "computer": self._node}), patience=1)

    def supply_large(self) -> None:
        for url in self._large_releases:
            self._send(_call(self._token, "PUT", "/supplies", {"url": url, "computer": self._node}))

    def list_all(self) -> None:
        self._send(_call(self._token, "GET", "/instances"))

    def read_state(self) -> None:
        self._send(_call(self._node_token, "GET", f"/computers/{self._node}/state"))

    def read_classic(self) -> None:
        path = f"/getFullComputerInformation?computer_id={self._node}"
        self._send(Call("GET", path, token=self._node_token))

    def journal(self) -> None:
        """As large as the master takes it."""
        text = f"<journal>{'<a/>' * 1_900_000}</journal>"
        self._send(_call(self._node_token, "POST", f"/computers/{self._node}/journal", {"text": text}))

    def fill(self) -> None:
        """Bodies of 32 MB that do not end."""
        head = (
            "POST /api/v1/instances HTTP/1.1\r\nHost: m\r\nContent-Type: application/json\r\n"
            f"Authorization: Bearer {self._token}\r\nContent-Length: 33000000\r\n\r\n"
        ).encode()
        held = [socket.create_connection(("127.0.0.1", self._port), timeout=2) for _ in range(UNFINISHED)]
        for connection in held:
            with suppress(OSError):
                connection.sendall(head + b"[" * (32 << 20))
        time.sleep(1)

    def poll(self) -> None:
        """Hundreds of polls of one computer, which `wake` answers."""
        path = f"/computers/{self._node}/state"
        known = _json(self._port, self._node_token, "GET", path)["revision"]
        data = _call(self._node_token, "GET", f"{path}?since={known}&wait=30").encode("m")
        held = [socket.create_connection(("127.0.0.1", self._port), timeout=2) for _ in range(POLLS)]
        for connection in held:
            connection.sendall(data)
        for connection in held:
            connection.settimeout(30)
            connection.recv(1 << 16)
            connection.close()

    def wake(self) -> None:
        self._send(_call(self._token, "POST", f"/computers/{self._node}/bang", {"message": "now"}))
        time.sleep(0.05)

    def report(self) -> None:
        """Reports of thousands of instances, with values that no database stores."""
        instances = [
            {"guid": f"SOFTINST-{number}", "state": "started", "connection": {"port": str(1 << 70), "text": "\ud800"}}
            for number in range(5000)
        ]
        self._send(_call(self._node_token, "POST", f"/computers/{self._node}/reports", {"instances": instances}))

    def _send(self, call: Call, patience: float = 20) -> None:
        client = Client(self._port, patience)
        answer = client.send(call)
        client.close()
        with self.answered.get_lock():
            self.answered.value += answer.status < 300


def _repeat(attack: Callable[[], None]) -> None:
    while True:
        try:
            attack()
        except (OSError, EOFError, ValueError, KeyError):  # it was refused, as it should
            time.sleep(0.05)


@contextmanager
def _dripping_server() -> Iterator[str]:
    """A web server that sends a byte a second."""
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
        process = multiprocessing.get_context("fork").Process(target=_drip, args=(listener,), daemon=True)
        process.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            process.kill()
            process.join()


def _drip(listener: socket.socket) -> None:
    held: list[socket.socket] = []
    listener.settimeout(1)
    while True:
        with suppress(TimeoutError):
            held.append(listener.accept()[0])
            held[-1].sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        for connection in held:
            with suppress(OSError):
                connection.sendall(b"#")


def _write_large_release(place: Path) -> str:
    """Nearly as large as a release may be: several types, each with a schema of nearly the size that one may have."""
    url = _write_release(place, {})
    schema = {"type": "object", "properties": {f"p{number}": _LARGE_PROPERTY for number in range(LARGE_PROPERTIES)}}
    types = {f"type{number}": {"title": place.name, "request": "input.json"} for number in range(LARGE_TYPES)}
    (place / "software.cfg.json").write_text(json.dumps({"name": place.name, "software-type": types}))
    (place / "input.json").write_text(json.dumps({**schema, "title": place.name}))
    return url


_LARGE_PROPERTY = {"type": "string", "description": "x" * 80}


def _write_release(place: Path, schema: object) -> str:
    place.mkdir(parents=True)
    (place / "software.cfg").write_text("[buildout]\nparts =\n")
    types = {"default": {"title": "Default", "request": "input.json"}}
    (place / "software.cfg.json").write_text(json.dumps({"name": place.name, "software-type": types}))
    (place / "input.json").write_text(json.dumps(schema))
    return str(place / "software.cfg")


def _call(token: str, method: str, path: str, body: object = None) -> Call:
    return Call(method, f"/api/v1{path}", json.dumps(body).encode() if body is not None else b"", token=token)


def _json(port: int, token: str, method: str, path: str, body: object = None) -> dict[str, str]:
    client = Client(port)
    answer = client.send(_call(token, method, path, body))
    client.close()
    if answer.status >= 300:
        raise CommandFailed(f"{method} {path}: {answer.status} {answer.body[:300]!r}")
    return dict(json.loads(answer.body))
