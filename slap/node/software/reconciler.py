"""Software releases of this computer: decide the next step for each, and take it."""

import logging
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path

from slap.model.errors import SlapError
from slap.model.node import DesiredSupply, SupplyReport
from slap.model.state import InstanceState, ReportedSupplyState, SupplyState
from slap.node.buildout.builder import BUILDS, Builder, BuildLimits
from slap.node.buildout.job import BuildJob, BuildResult, Outcome
from slap.node.core.accounts import Account
from slap.node.core.config import NodeConfig
from slap.node.core.logs import build_words
from slap.node.core.marker import MARKER, Marker, read_marker
from slap.node.core.report import Reporter
from slap.node.core.scheduler import Requeue, Slots, delay
from slap.node.core.store import SoftwareRecord, Store
from slap.node.software.cached_releases import NodeCache
from slap.system import environment, files
from slap.system.clock import Clock
from slap.system.processes import NODE_MARK, PARTITION_MARK, Mark, end_marked
from slap.system.trust.folders import read_below

log = logging.getLogger(__name__)

PROFILE = "buildout.cfg"
_OWN_SECTION = "[slap-software]"
_LOG_LINES = 30
_IDLE = Requeue(86400.0)
# A build that takes longer than this is not counted any more among those that may run side by side.
_SLOW = 900.0
# The revision in the record of a release that somebody asked to have built again.
FORCED = -1


class Step(StrEnum):
    """The next step for a release."""

    BUILD = "build"
    WAIT = "wait"
    REMOVE = "remove"
    KEEP = "keep"


@dataclass(frozen=True)
class Observation:
    """The observed state of a release."""

    record: SoftwareRecord | None
    complete: bool
    used_by: tuple[str, ...]
    now: float


def decide(supply: DesiredSupply, seen: Observation) -> Step:
    """The next step for a release.

    A repeated supply (a new revision) builds again where content can have changed, and retries a failure at once.
    """
    if supply.state is SupplyState.DESTROYED:
        return Step.WAIT if seen.used_by else Step.REMOVE
    record = seen.record
    if record is None or record.revision != supply.revision:
        return Step.KEEP if seen.complete and _is_immutable(supply.url) else Step.BUILD
    if seen.complete:
        return Step.KEEP
    return Step.WAIT if record.failures and seen.now < record.retry_at else Step.BUILD


def build_profile(config: NodeConfig, url: str) -> str:
    """The buildout.cfg that builds a release."""
    folder = config.software(url)
    return "\n".join(
        [
            "[buildout]",
            f"extends = {_escape(url)}",
            f"directory = {_escape(str(folder))}",
            f"download-cache = {_escape(str(config.download_cache))}",
            f"shared-part-list = {_escape(str(config.shared_parts))}",
            "newest = false",
            "",
            # Where profiles find the files that lie beside software.cfg.
            _OWN_SECTION,
            f"base = {_escape(url.rpartition('/')[0])}",
            "",
        ]
    )


def is_built_by_slapos(folder: Path) -> bool:
    """Whether SlapOS's node built here: its buildout record cannot be continued."""
    profile = read_below(folder, PROFILE)
    return bool(profile) and _OWN_SECTION not in profile


def remove_slapos_build(folder: Path) -> None:
    """Remove a build of SlapOS's node, by a rename first, so that no half of it is taken for ours."""
    aside = folder.with_name(f"{folder.name}.foreign")
    files.remove_tree(aside)
    if is_built_by_slapos(folder):
        log.info("%s was built by another node, and is built anew", folder)
        folder.rename(aside)
        files.remove_tree(aside)


class SoftwareReconciler:
    """Builds and removes releases, a few at a time."""

    def __init__(
        self,
        config: NodeConfig,
        store: Store,
        builder: Builder,
        clock: Clock,
        account: Account,
        reporter: Reporter,
    ) -> None:
        self._config = config
        self._store = store
        self._builder = builder
        self._clock = clock
        self._account = account
        self._reporter = reporter
        self._slots = Slots(config.parallel_builds, _SLOW, clock)
        self._said: set[str] = set()  # releases of which something was told that could not be remembered
        self.limits = BuildLimits()
        self.cache: NodeCache | None = None  # where built releases are looked for first, and left for others

    def once(self, url: str) -> Requeue:
        """Take the next step for a release; returns when to look again."""
        supply = self._store.supply(url)
        if supply is None:
            return _IDLE
        try:
            return self._take_step(supply)
        except (SlapError, OSError) as error:
            return self._fail(supply, BuildResult(id=0, outcome=Outcome.FAILED, message=str(error)))

    def _take_step(self, supply: DesiredSupply) -> Requeue:
        url = supply.url
        step = decide(supply, self._look(supply))
        if step is Step.BUILD:
            return self._build(supply)
        if step is Step.WAIT:
            return self._wait(url)
        if step is Step.REMOVE:
            return self._remove(supply)
        self._save(supply, SupplyReport(url=url, state=ReportedSupplyState.AVAILABLE, message=self._origin(url)))
        return _IDLE

    def _origin(self, url: str) -> str:
        """The message from when a release became available, on where it came from."""
        record = self._store.software_record(url)
        return record.report.message if record and record.report.state is ReportedSupplyState.AVAILABLE else ""

    def next_step(self, url: str) -> Step | None:
        """The step that `once` would take; None without a supply."""
        supply = self._store.supply(url)
        return decide(supply, self._look(supply)) if supply else None

    def _look(self, supply: DesiredSupply) -> Observation:
        url = supply.url
        users = self._users(url) if supply.state is SupplyState.DESTROYED else ()
        complete = read_marker(self._config.software(url)) is not None
        return Observation(self._store.software_record(url), complete, users, self._clock.now().timestamp())

    def _users(self, url: str) -> tuple[str, ...]:
        """Partitions that should run a release, and those that still do."""
        shall = (
            each.partition
            for each in self._store.instances()
            if each.software_release == url and each.state is not InstanceState.DESTROYED
        )
        return (*shall, *(each.partition for each in self._store.instance_records() if each.release == url))

    def _build(self, supply: DesiredSupply) -> Requeue:
        with self._slots.one():
            log.info("Building %s", supply.url)
            is_forced = self._is_forced(supply.url)
            self._save(supply, SupplyReport(url=supply.url, state=ReportedSupplyState.BUILDING), self._failures(supply))
            result = self._make(supply, is_forced)
        if result.outcome is Outcome.DONE:
            self._complete(supply, result)
            return _IDLE
        return self._fail(supply, result)

    def _make(self, supply: DesiredSupply, is_forced: bool) -> BuildResult:
        """Download a release from a cache, or build it. Only releases behind URLs are in caches."""
        if self.cache is None or not _is_immutable(supply.url):
            return self._run(supply.url)
        end_marked(self._mark(self._config.software(supply.url)))
        taken = self.cache.take(supply.url, is_forced, partial(self._say_progress, supply))
        if taken.outcome is not Outcome.WAITING:
            return taken
        if taken.message:
            log.warning("%s: %s", supply.url, taken.message)
        result = self._run(supply.url)
        return result if result.outcome is Outcome.FAILED else result.model_copy(update={"message": taken.message})

    def _say_progress(self, supply: DesiredSupply, words: str) -> None:
        report = SupplyReport(url=supply.url, state=ReportedSupplyState.BUILDING, message=words)
        self._save(supply, report, self._failures(supply))

    def _is_forced(self, url: str) -> bool:
        """Whether a rebuild was requested, which no cache can satisfy."""
        record = self._store.software_record(url)
        return record is not None and record.revision == FORCED

    def _run(self, url: str) -> BuildResult:
        desk: AbstractContextManager[dict[str, str]] = self.cache.building() if self.cache else nullcontext({})
        with desk as asking:
            return self._run_buildout(url, asking)

    def _run_buildout(self, url: str, asking: dict[str, str]) -> BuildResult:
        folder, build_log = self._config.software(url), self._config.software_log(url)
        self._config.make_folders()  # SlapOS's commands may have given the software root away again
        remove_slapos_build(folder)
        downloads = self._config.download_cache
        # buildout looks for dist, then makes it: of two builds at a time one would fail.
        for each in (downloads, downloads / "dist", self._config.shared_parts, folder):
            files.make_folder(each, owner=self._account.owner)
        files.remove_tree(folder / MARKER)
        files.write(build_log, f"Building {url} in {folder}\n")
        job = BuildJob(
            id=0,
            folder=str(folder),
            profile=build_profile(self._config, url),
            log=str(build_log),
            environment=self._environment(folder) | asking,
            user=self._account.user,
            group=self._account.group,
            timeout=self._config.build_timeout,
        )
        end_marked(self._mark(folder))  # compilers of a build whose agent was killed work on
        try:
            with self.limits.building(folder, self._account) as limits:
                return self._explain(self._builder.build(job.model_copy(update={"limits": limits})))
        finally:
            end_marked(self._mark(folder))

    def _explain(self, result: BuildResult) -> BuildResult:
        """A build that failed when builds took too much says so first: what it prints itself is seldom why."""
        trouble = self.limits.trouble(BUILDS) if result.outcome is Outcome.FAILED else ""
        words = f"Builds reached a limit of this computer: {trouble}\n{result.message}"
        return result.model_copy(update={"message": words}) if trouble else result

    def _mark(self, folder: Path) -> Mark:
        """The mark of a build's processes: one mark a build, since ending marked processes waits for all."""
        return Mark(PARTITION_MARK, str(folder), self._account.user)

    def _environment(self, folder: Path) -> dict[str, str]:
        """The environment of a build; caches of pip and npm are shared by all builds."""
        own = environment.registry_clients() if self._account.user is None else {}
        kept = self._config.download_cache / "tools"
        caches = {
            "XDG_CACHE_HOME": str(kept),
            "PIP_CACHE_DIR": str(kept / "pip"),
            "npm_config_cache": str(kept / "npm"),
        }
        return {**own, **caches, NODE_MARK: str(self._config.root), PARTITION_MARK: str(folder)}

    def _complete(self, supply: DesiredSupply, result: BuildResult) -> None:
        marker = Marker(url=supply.url, fingerprint=result.fingerprint)
        files.write(self._config.software(supply.url) / MARKER, marker.model_dump_json())
        self._save(supply, SupplyReport(url=supply.url, state=ReportedSupplyState.AVAILABLE, message=result.message))
        log.info("Built %s %s", supply.url, result.message)
        if self.cache and _is_immutable(supply.url) and not result.is_taken:
            self.cache.built(supply.url)

    def _fail(self, supply: DesiredSupply, result: BuildResult) -> Requeue:
        log.error("Building %s failed: %s", supply.url, result.message)
        failures = self._failures(supply) + 1
        words = build_words(self._config.software_log(supply.url), result.message, _LOG_LINES)
        report = SupplyReport(url=supply.url, state=ReportedSupplyState.ERROR, message=result.message, log=words)
        try:
            self._save(supply, report, failures)
        except SlapError:  # not even that can be written down
            self._said.add(supply.url)
            self._reporter.report(report.model_copy(update={"revision": supply.revision}))
        return Requeue(delay(failures))

    def _failures(self, supply: DesiredSupply) -> int:
        record = self._store.software_record(supply.url)
        return record.failures if record and record.revision == supply.revision else 0

    def _wait(self, url: str) -> Requeue:
        """Wait for the retry after a failure, or for partitions to leave a release that is to be removed."""
        record = self._store.software_record(url)
        left = record.retry_at - self._clock.now().timestamp() if record else 0.0
        return Requeue(left if left > 0 else 30.0)

    def _remove(self, supply: DesiredSupply) -> Requeue:
        folder = self._config.software(supply.url)
        files.remove_tree(folder / MARKER)  # first: half of a release is none
        files.remove_tree(folder)
        self._config.software_log(supply.url).unlink(missing_ok=True)
        self._save(supply, SupplyReport(url=supply.url, state=ReportedSupplyState.DESTROYED))
        log.info("Removed %s", supply.url)
        return _IDLE

    def _save(self, supply: DesiredSupply, seen: SupplyReport, failures: int = 0) -> None:
        report = seen.model_copy(update={"revision": supply.revision})
        retry_at = self._clock.now().timestamp() + delay(failures) if failures else 0.0
        record = SoftwareRecord(
            url=supply.url, revision=supply.revision, failures=failures, retry_at=retry_at, report=report
        )
        told = self._store.save_software(record, anew=supply.url in self._said)
        self._said.discard(supply.url)
        if not told:
            self._reporter.notify_software(supply.url)


def _is_immutable(url: str) -> bool:
    """Whether a release never changes: one behind a URL, unlike a folder under development."""
    return url.startswith(("http://", "https://"))


def _escape(text: str) -> str:
    """A value with ${section:option} escaped, which buildout would substitute."""
    return text.replace("${", "$${")
