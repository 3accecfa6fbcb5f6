"""Releases: what to do about one, and that what is built is whole, told, and retried when it failed."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from slap.model.state import InstanceState, SupplyState
from slap.node.buildout.builder import BUILDS, BuildLimits
from slap.node.buildout.job import BuildJob, BuildResult, Outcome
from slap.node.core.accounts import Account
from slap.node.core.marker import MARKER, read_marker
from slap.node.core.report import Reporter
from slap.node.core.scheduler import Requeue
from slap.node.core.store import SoftwareRecord, Store
from slap.node.software.reconciler import Observation, SoftwareReconciler, Step, build_profile, decide
from slap.system import files
from slap.system.clock import FakeClock
from slap.system.host.launch import LaunchLimits
from slap.system.processes import PARTITION_MARK
from tests.unit.node.partition.world import killed_at
from tests.unit.node.things import (
    URL,
    Ear,
    FakeBuilder,
    a_config,
    a_record,
    a_report,
    a_supply,
    an_instance,
    wants,
)  # fmt: skip

GONE = SupplyState.DESTROYED
LOCAL = "/home/me/software.cfg"
DONE = BuildResult(id=0, outcome=Outcome.DONE, fingerprint="f")
FAILED = BuildResult(id=0, outcome=Outcome.FAILED, message="no gcc")


def a_software(**changes: Any) -> SoftwareRecord:
    report = {"url": URL, "state": "available"}
    return SoftwareRecord.model_validate({"url": URL, "revision": 1, "report": report} | changes)


@pytest.mark.parametrize(
    ("supply", "record", "complete", "used", "step"),
    [
        ({}, None, False, False, Step.BUILD),
        ({}, None, True, False, Step.KEEP),
        ({"url": LOCAL}, None, True, False, Step.BUILD),
        ({}, {}, True, False, Step.KEEP),
        ({"url": LOCAL}, {}, True, False, Step.KEEP),
        ({}, {}, False, False, Step.BUILD),  # cut off
        ({}, {"failures": 1, "retry_at": 101.0}, False, False, Step.WAIT),
        ({}, {"failures": 1, "retry_at": 100.0}, False, False, Step.BUILD),
        ({"revision": 2}, {"failures": 9, "retry_at": 999.0}, False, False, Step.BUILD),  # supplied again
        ({"revision": 2}, {}, True, False, Step.KEEP),
        ({"revision": 2, "url": LOCAL}, {}, True, False, Step.BUILD),
        ({"state": GONE}, {}, True, True, Step.WAIT),
        ({"state": GONE}, {}, True, False, Step.REMOVE),
        ({"state": GONE}, None, False, False, Step.REMOVE),
        ({"state": GONE}, {"failures": 3, "retry_at": 999.0}, False, False, Step.REMOVE),
    ],
)
def test_the_next_step(
    supply: dict[str, Any], record: dict[str, Any] | None, complete: bool, used: bool, step: Step
) -> None:
    known = None if record is None else a_software(**record)
    assert decide(a_supply(**supply), Observation(known, complete, ("slappart0",) if used else (), 100.0)) is step


class World:
    """A reconciler over a real store and folder, with a builder that does as it is told."""

    def __init__(self, folder: Path) -> None:
        self.config = a_config(folder)
        self.clock, self.ear, self.builder = FakeClock(), Ear(), FakeBuilder([DONE])
        self.store = Store(self.config.store_file)
        self.reporter = Reporter("COMP-1", self.ear.master, self.store, lambda name: None)
        self.reconciler = SoftwareReconciler(
            self.config, self.store, self.builder, self.clock, Account(), self.reporter
        )

    def once(self) -> Requeue:
        again = self.reconciler.once(URL)
        self.reporter.flush()
        return again

    @property
    def folder(self) -> Path:
        return self.config.software(URL)

    @property
    def message(self) -> str:
        return self.ear.reports[-1].supplies[0].message


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path)
    wants(made.store, a_supply())
    return made


def test_a_release_is_built_once(world: World) -> None:
    assert world.once() == world.once() == Requeue(86400.0)
    assert (len(world.builder.jobs), world.ear.states[-1]) == (1, "available")
    marker = read_marker(world.folder)
    assert marker and (marker.url, marker.fingerprint) == (URL, "f")


def test_what_another_node_built_is_not_built_upon_and_what_we_began_is(world: World) -> None:
    left, half = world.folder / ".installed.cfg", world.folder.with_name(f"{world.folder.name}.foreign")
    for folder in (world.folder, half):
        folder.mkdir(parents=True)
    (world.folder / "buildout.cfg").write_text(f"[buildout]\nextends = {URL}\n")
    left.write_text("[buildout]\ninstalled_develop_eggs =\n")
    world.once()
    assert (left.exists(), half.exists()) == (False, False)
    (world.folder / "buildout.cfg").write_text(build_profile(world.config, URL))
    left.write_text("[buildout]\nparts = compiled\n")
    (world.folder / MARKER).unlink()
    wants(world.store, a_supply(revision=9))
    world.once()
    assert len(world.builder.jobs) == 2
    assert left.exists()


@dataclass
class FullBuilds(BuildLimits):
    """Limits of builds that each of them reaches; `running` are the folders of those that run."""

    running: list[Path] = field(default_factory=list)

    @contextmanager
    def building(self, folder: Path, account: Account) -> Iterator[LaunchLimits]:
        self.running.append(folder)
        yield LaunchLimits(processes=7)
        self.running.remove(folder)

    def trouble(self, partition: str) -> str:
        return "It took too much." if partition == BUILDS and self.running else ""


def test_a_build_has_limits_and_whoever_supplied_it_is_told_which_it_reached(world: World) -> None:
    world.reconciler.limits = limits = FullBuilds()
    world.builder.results = [FAILED, DONE]
    world.once()
    assert world.builder.jobs[0].limits.processes == 7
    assert world.message == "Builds reached a limit of this computer: It took too much.\nno gcc"
    world.clock.sleep(60)
    world.once()
    assert (world.message, limits.running) == ("", [])


def test_a_build_has_an_environment_by_which_its_processes_are_found(world: World) -> None:
    world.once()
    assert world.builder.jobs[0].environment[PARTITION_MARK] == str(world.folder)


def test_builds_find_the_folders_that_each_of_them_would_make(world: World) -> None:
    class Looks(FakeBuilder):
        def build(self, job: BuildJob) -> BuildResult:
            assert (world.config.download_cache / "dist").is_dir()
            return super().build(job)

    world.reconciler._builder = builder = Looks([DONE])
    world.once()
    assert len(builder.jobs) == 1


def test_what_tools_keep_is_no_part_of_the_release(world: World) -> None:
    world.once()
    names = ("XDG_CACHE_HOME", "PIP_CACHE_DIR", "npm_config_cache")
    kept = [Path(world.builder.jobs[0].environment[name]) for name in names]
    assert all(each.is_relative_to(world.config.download_cache) for each in kept)


def test_a_failure_is_told_retried_later_and_at_once_when_supplied_again(world: World) -> None:
    world.builder.results = [FAILED]
    assert world.once() == Requeue(2.0)
    assert (world.ear.states[-1], world.message) == ("error", "no gcc")
    assert world.once() == Requeue(2.0)
    assert len(world.builder.jobs) == 1
    world.clock.sleep(2)
    assert world.once() == Requeue(4.0)
    wants(world.store, a_supply(revision=2))
    world.builder.results = [DONE]
    world.once()
    assert (len(world.builder.jobs), world.ear.states[-1]) == (3, "available")


def test_what_a_build_leaves_is_no_release_before_it_is_whole(world: World) -> None:
    class Looks(FakeBuilder):
        def build(self, job: BuildJob) -> BuildResult:
            assert read_marker(Path(job.folder)) is None
            return super().build(job)

    wants(world.store, a_supply(url=LOCAL))
    world.reconciler._builder = builder = Looks([DONE])
    world.reconciler.once(LOCAL)
    wants(world.store, a_supply(url=LOCAL, revision=2))
    world.reconciler.once(LOCAL)
    assert len(builder.jobs) == 2


def test_a_disk_without_room_is_told_and_not_a_build_that_never_ends(world: World) -> None:
    class FillsDisk(FakeBuilder):
        def build(self, job: BuildJob) -> BuildResult:
            os.rmdir(job.folder)  # as bad as no room: the marker cannot be written
            return super().build(job)

    world.reconciler._builder = FillsDisk([DONE])
    assert world.once() == Requeue(2.0)
    assert (world.ear.states[-1], str(world.folder) in world.message) == ("error", True)


def test_even_what_cannot_be_remembered_is_told(world: World) -> None:
    pages = world.store._connection.execute("pragma page_count").fetchone()[0]
    world.store._connection.execute(f"pragma max_page_count = {pages}")
    world.builder.results = [FAILED.model_copy(update={"message": "x" * 100_000})]
    world.once()
    assert world.ear.states[-1] == "error"
    world.store._connection.execute("pragma max_page_count = 100000")
    world.builder.results = [DONE]
    world.once()
    assert world.ear.states[-1] == "available"


def test_a_release_in_use_stays_until_its_last_user_has_left(world: World) -> None:
    world.once()
    wants(world.store, an_instance(), a_supply(state=GONE, revision=2))
    assert world.once().seconds <= 60
    assert world.folder.exists()
    # its partition shall run another one, which is still being built
    wants(world.store, an_instance(software_release=LOCAL))
    world.store.save_instance(a_record(release=URL, report=a_report()))
    world.once()
    assert world.folder.exists()
    world.store.save_instance(a_record(release=LOCAL))
    world.once()
    assert not world.folder.exists()
    assert (world.ear.states[-1], world.store.supplies()) == ("destroyed", [])


def test_half_of_a_release_that_was_being_removed_is_none(tmp_path: Path) -> None:
    """Whatever removing a folder begins with, its marker is gone before."""
    seen = set()
    for line in range(1, 200):
        world = World(tmp_path / str(line))
        files.make_folder(world.folder / "a")
        (world.folder / MARKER).touch()
        wants(world.store, a_supply(state=GONE))
        killed_at(line, partial(world.reconciler.once, URL))
        seen.add(((world.folder / "a").exists(), (world.folder / MARKER).exists()))
        world.store.close()
        if not world.folder.exists():
            break
    assert seen == {(True, True), (True, False), (False, False)}


def test_instances_that_are_going_do_not_hold_a_release(world: World) -> None:
    world.once()
    wants(world.store, an_instance(state=InstanceState.DESTROYED), a_supply(state=GONE, revision=2))
    world.once()
    assert not world.folder.exists()


def test_a_url_cannot_write_into_the_profile_beyond_its_line(tmp_path: Path) -> None:
    text = build_profile(a_config(tmp_path), "http://h/${buildout:directory}/software.cfg")
    assert "extends = http://h/$${buildout:directory}/software.cfg" in text.splitlines()
