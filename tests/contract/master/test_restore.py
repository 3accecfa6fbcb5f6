"""A database restored from a backup gives the same revisions once more: to nodes and people they are others."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from slap.master.database.engine import database_url
from slap.master.database.incarnation import begin_incarnation
from slap.model.instance import InstanceRequest
from slap.model.node import DesiredState, InstanceReport, NodeReport, SupplyReport
from slap.model.state import ReportedInstanceState, ReportedSupplyState, Status
from slap.system.environment import clean
from slap.system.process import Command, SystemRunner
from tests.contract.master.world import Node, World, order, serving
from tests.system.postgresql import PostgreSql

pytestmark = pytest.mark.sql

STARTED = ReportedInstanceState.STARTED


@dataclass
class Backups:
    """Makes and restores copies of a database as docs/howto/backup.md says."""

    url: str
    folder: Path
    postgresql: PostgreSql

    def make(self, name: str) -> None:
        if self.url.startswith("sqlite"):
            with closing(sqlite3.connect(self._file)) as connection:
                connection.execute(f"VACUUM INTO '{self.folder / name}'")
        else:
            self._run("pg_dump", "--format=custom", f"--file={self.folder / name}", self.url)

    def restore(self, name: str) -> None:
        if self.url.startswith("sqlite"):
            for suffix in ("", "-wal", "-shm"):
                self._file.with_name(f"{self._file.name}{suffix}").unlink(missing_ok=True)
            shutil.copy(self.folder / name, self._file)
        else:
            self._run("pg_restore", "--clean", f"--dbname={self.url}", str(self.folder / name))

    @property
    def _file(self) -> Path:
        return Path(urlsplit(self.url).path)

    def _run(self, program: str, *arguments: str) -> None:
        command = Command((str(self.postgresql.binaries / program), *arguments), env=clean(self.folder))
        assert SystemRunner().run(command).status == 0


class Masters:
    """Masters that come and go on one database; nodes and users stay."""

    def __init__(self, url: str, folder: Path, postgresql: PostgreSql) -> None:
        self.url = url
        self.backups = Backups(url, folder, postgresql)
        self.folder = folder
        self._running: Any = None
        self.start()
        self.world = World(self.address, url, folder)
        self.node = self.world.computer(partitions=6)
        self.release = self.world.supplied(self.node)

    def start(self) -> None:
        begin_incarnation(database_url(self.url))
        self._running = serving(self.url)
        self.address = self._running.__enter__()

    def stop(self) -> None:
        self._running.__exit__(None, None, None)

    def restart(self, backup: str = "") -> None:
        """Restores a backup in between, when one is named."""
        self.stop()
        if backup:
            self.backups.restore(backup)
        self.start()
        for api in (self.world.admin, self.node.api):
            api._base = f"{self.address}/api/v1"  # type: ignore[attr-defined]

    def request(self, reference: str, **more: Any) -> str:
        return self.world.admin.request(order(self.release, reference, **more)).guid

    def state(self, known: DesiredState | None = None) -> DesiredState:
        since, incarnation = (known.revision, known.incarnation) if known else (0, "")
        return self.node.api.desired_state(self.node.guid, since, 0, incarnation)


@pytest.fixture
def masters(fresh_database: str, tmp_path: Path, postgresql: PostgreSql) -> Iterator[Masters]:
    running = Masters(fresh_database, tmp_path, postgresql)
    yield running
    running.stop()


def names(state: DesiredState) -> list[str]:
    return sorted(each.reference for each in state.instances)


def test_a_later_request_with_the_revision_of_a_lost_one_is_told(masters: Masters) -> None:
    masters.request("a")
    before = masters.state()
    masters.backups.make("backup")
    masters.request("x")
    lost = masters.state(before)
    assert (names(lost), lost.since) == (["x"], before.revision)
    masters.restart("backup")
    masters.request("y")
    whole = masters.state(lost)
    assert (names(whole), whole.since, whole.revision) == (["a", "y"], 0, lost.revision)
    assert whole.incarnation != lost.incarnation
    # A node that saw nothing of what is lost gets what changed, and no more.
    assert names(masters.state(before)) == ["y"]
    assert masters.state(whole).since == whole.revision


@pytest.mark.parametrize("after", [0, 1, 2, 3])
def test_however_much_was_lost_and_requested_since(masters: Masters, after: int) -> None:
    masters.request("a")
    masters.backups.make("backup")
    lost = [masters.state()]
    for number in range(2):
        masters.request(f"x{number}")
        lost.append(masters.state(lost[-1]))
    masters.restart("backup")
    for number in range(after):
        masters.request(f"y{number}")
    expected = ["a", *(f"y{number}" for number in range(after))]
    for known in lost[1:]:
        assert (names(masters.state(known)), masters.state(known).since) == (expected, 0)


def test_a_backup_that_is_restored_twice(masters: Masters) -> None:
    masters.request("a")
    masters.backups.make("backup")
    masters.request("x")
    first = masters.state()
    masters.restart("backup")
    masters.request("y")
    second = masters.state(first)
    masters.restart("backup")
    masters.request("z")
    for known in (first, second):
        assert (names(masters.state(known)), masters.state(known).since) == (["a", "z"], 0)


def test_a_master_that_only_starts_again_costs_no_whole_state(masters: Masters) -> None:
    masters.request("a")
    known = masters.state()
    for number in range(3):
        masters.restart()
        assert masters.state(known).since == known.revision
        masters.request(f"b{number}")
        changed = masters.state(known)
        assert (changed.since, names(changed)) == (known.revision, [f"b{number}"])
        known = changed


def test_a_report_about_what_is_lost_is_no_answer_to_what_has_its_revision(masters: Masters) -> None:
    guid = masters.request("a")
    masters.backups.make("backup")
    masters.request("a", parameters={"lost": 1})
    lost = masters.state()
    masters.restart("backup")
    masters.request("a", parameters={"new": 1})
    report(masters.node, lost, guid, masters.release)
    assert masters.world.admin.instance(guid).status is Status.WAITING
    assert masters.world.admin.supplies()[0].reported is ReportedSupplyState.NONE
    report(masters.node, masters.state(lost), guid, masters.release)
    assert masters.world.admin.instance(guid).status is Status.STARTED
    assert masters.world.admin.supplies()[0].reported is ReportedSupplyState.AVAILABLE


def report(node: Node, known: DesiredState, guid: str, url: str) -> None:
    """Report all as started at the revision that a node knows."""
    instance = InstanceReport(guid=guid, state=STARTED, revision=known.revision)
    supply = SupplyReport(url=url, state=ReportedSupplyState.AVAILABLE, revision=known.revision)
    node.api.report(node.guid, NodeReport(instances=(instance,), supplies=(supply,), incarnation=known.incarnation))


def test_who_waits_for_a_tree_is_told_at_once(masters: Masters) -> None:
    guid = masters.request("a")
    masters.backups.make("backup")
    masters.request("a", parameters={"lost": 1})
    lost = masters.world.admin.tree(guid)
    masters.restart("backup")
    masters.request("a", parameters={"new": 1})
    found = masters.world.admin.tree(guid, lost.revision, 60, lost.incarnation)
    assert (found.root.parameters, found.revision) == ({"new": 1}, lost.revision)


def test_nodes_and_clients_of_earlier_versions_are_told_of_no_incarnation(masters: Masters) -> None:
    guid = masters.request("a")
    for path in (f"/computers/{masters.node.guid}/state", f"/instances/{guid}/tree"):
        api: Any = masters.node.api if "computers" in path else masters.world.admin
        assert b"incarnation" not in api._send("GET", path).body
        assert b"incarnation" in api._send("GET", f"{path}?incarnation=").body
    latest = masters.state()
    old = masters.node.api._send("GET", f"/computers/{masters.node.guid}/state?since={latest.revision}")  # type: ignore[attr-defined]
    assert DesiredState.model_validate_json(old.body).since == latest.revision
    request = InstanceRequest(reference="b", software_release=masters.release)
    masters.world.admin.request(request)
    news = masters.node.api._send("GET", f"/computers/{masters.node.guid}/state?since={latest.revision}")  # type: ignore[attr-defined]
    assert names(DesiredState.model_validate_json(news.body)) == ["b"]


def test_tables_that_are_made_anew_below_a_master_that_runs(masters: Masters) -> None:
    """On PostgreSQL nobody has to start the master for that."""
    if masters.url.startswith("sqlite"):
        return
    masters.request("a")
    masters.backups.make("backup")
    masters.request("x")
    lost = masters.state()
    masters.backups.restore("backup")
    masters.request("y")
    assert names(masters.state(lost)) == ["a", "y"]
