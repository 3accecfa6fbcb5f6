"""What people get wrong: each ends in a clear message that names the culprit and the next step, and hurts nobody else."""

import shlex
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from slap.model.state import Status
from tests.system.bad.releases import INSTANCES, make_releases
from tests.system.bad.table import TABLE, Row
from tests.system.cloud import HELLOWORLD, Cloud, Result, small_cloud

CONFIGURATIONS = {
    "wrong-token.cfg": "[slapos]\nmaster_url = {master}\n[client]\ntoken_file = wrong.token\n",
    "open-token.cfg": "[slapos]\nmaster_url = {master}\n[client]\ntoken_file = open.token\n",
    "no-master.cfg": "[slapos]\nmaster_url = http://127.0.0.1:9\n[client]\ntoken_file = wrong.token\n",
    "wrong.token": "user:wrong\n",
    "open.token": "user:open\n",
    "binary.cfg": "\udcff\udcfe",
    "syntax.cfg": "[slapos]\nthis is no option\n",
    "values.cfg": "[slapos]\nroot = /tmp\npromise_grace = soon\n[slapformat]\npartition_amount = -1\n",
}


@dataclass(frozen=True)
class Place:
    """A cloud with a service in it that minds its own business."""

    cloud: Cloud
    releases: Path
    taken_port: int

    def type(self, typed: str) -> Result:
        """Type a command in which the words of a row's notation are replaced."""
        return self.cloud.slapos(*(self.meant(word) for word in shlex.split(typed)), check=False)

    def meant(self, word: str) -> str:
        if word.startswith("@"):
            return str(HELLOWORLD if word == "@helloworld" else self.releases / word[1:] / "software.cfg")
        names = {"COMPUTER": self.cloud.computer, "HOST": socket.gethostname(), "PORT": str(self.taken_port)}
        for name, value in names.items():
            word = word.replace(name, value)
        return word

    def bystander(self) -> tuple[Status, list[int]]:
        """What the user sees of it, and the ids of its processes."""
        seen = self.cloud.master().instances("bystander")[0]
        return seen.status, [each.pid for each in self.cloud.processes(seen.partition)]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    releases = tmp_path_factory.mktemp("releases")
    make_releases(releases)
    with small_cloud(30) as cloud, socket.socket() as server:
        server.bind(("0.0.0.0", 0))
        server.listen()
        _be_impatient(cloud)
        _configure(cloud)
        made = Place(cloud, releases, server.getsockname()[1])
        for name in ("helloworld", "no-instance-later", *INSTANCES.keys() - {"unsupplied", "large-instance"}):
            cloud.slapos("supply", made.meant(f"@{name}"), cloud.computer)
        cloud.slapos("request", "bystander", made.meant("@good"))
        yield made


@pytest.mark.parametrize("row", TABLE, ids=str)
def test_bad_input_names_its_culprit_and_the_next_step_and_hurts_nobody(place: Place, row: Row) -> None:
    before = place.bystander()
    result = place.type(row.typed)
    assert result.status == row.status, result
    assert result.stdout == ""
    assert [word for word in row.words if place.meant(word) not in result.stderr] == [], result.stderr
    assert any(sign in result.stderr for sign in ("Next: ", "usage: ", "Did you mean")), result.stderr
    assert "Traceback" not in result.stderr
    assert place.bystander() == before == (Status.STARTED, before[1])


def test_a_misspelt_package_is_not_looked_for_in_the_list_of_all_that_there_are(place: Place, tmp_path: Path) -> None:
    with _index() as (url, asked):
        (tmp_path / "software.cfg").write_text(
            f"[buildout]\nindex = {url}/simple/\nparts = a\n[a]\nrecipe = no.such.recipe\n"
        )
        result = place.type(f"supply {tmp_path}/software.cfg COMPUTER --wait")
    assert result.status == 1
    assert asked == ["/simple/no-such-recipe/", "/simple/no.such.recipe/"]


@contextmanager
def _index() -> Iterator[tuple[str, list[str]]]:
    """A package index that has nothing, and what it was asked for."""
    asked: list[str] = []

    class Nothing(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *args: object) -> None:
            """The test's output is not for this."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Nothing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()


def _be_impatient(cloud: Cloud) -> None:
    """A promise may fail only so long, before that is more than a slow start."""
    cloud.cfg.write_text(cloud.cfg.read_text().replace("promise_grace = 60.0", "promise_grace = 1.5"))
    cloud.slapos("node", "restart", "slapos-agent")


def _configure(cloud: Cloud) -> None:
    """Configurations with mistakes in them, where the commands are typed."""
    for name, text in CONFIGURATIONS.items():
        path = cloud.folder / name
        path.write_text(text.replace("{master}", cloud.master_url), errors="surrogateescape")
        path.chmod(0o644 if name == "open.token" else 0o600)
