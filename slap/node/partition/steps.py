"""The steps of a partition. Each can be interrupted at any line and repeated."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path

from slap.model.errors import SlapError, Unreachable
from slap.model.node import CONTEXT_FILE, DesiredInstance, InstanceReport, PartitionContext
from slap.model.state import ReportedInstanceState, ReportedSupplyState
from slap.node.buildout.builder import Builder
from slap.node.buildout.job import BuildJob, BuildResult, Outcome
from slap.node.core.config import NodeConfig
from slap.node.core.marker import read_marker
from slap.node.core.report import Reporter
from slap.node.core.scheduler import Requeue, Slots, delay
from slap.node.core.store import InstanceRecord, Store
from slap.node.partition import slapos_files
from slap.node.partition.connection import connection_of, read_published
from slap.node.partition.folder import PartitionFolder, Partitions
from slap.node.partition.hooks import Managers, PartitionLimits, RemovalStatus
from slap.node.partition.monitor import PartitionMonitor
from slap.node.partition.profile import find_template, instance_profile
from slap.node.partition.reconciler import Observation, Step, digest_of, fresh_record
from slap.system import files
from slap.system.clock import Clock
from slap.system.processes import NODE_MARK, PARTITION_MARK
from slap.system.supervisor import Supervisor

log = logging.getLogger(__name__)

_REST = Requeue(86400.0)
# An instance that waits for another one is processed when that one publishes; this is for news that got lost.
_WAIT_FOR_CHILDREN = 300.0
_UNWRITTEN = 10.0  # until what could not even be written down is tried again
# So long a run may wait for a child, in a slot, while slots are plenty: mostly a child answers far sooner.
_PATIENCE = 2.0
# A run that takes longer than this is not counted any more among those that may run side by side.
_SLOW = 20.0
# Between two looks at what a partition that leaves waits for; most often its end is told.
_LEAVING = 2.0
# A partition that asked its managers for something may ask for something else at any time.
_MANAGED = 60.0


@dataclass(frozen=True)
class StepContext:
    """All that the steps work with."""

    config: NodeConfig
    store: Store
    builder: Builder
    supervisor: Supervisor
    clock: Clock
    partitions: Partitions
    managers: Managers = field(default_factory=Managers)
    limits: PartitionLimits = field(default_factory=PartitionLimits)


class Steps:
    """Each method takes one step; it returns when to look again, or None to decide again at once."""

    def __init__(self, hands: StepContext, watch: PartitionMonitor, reporter: Reporter) -> None:
        self._context = hands
        self._watch = watch
        self._reporter = reporter
        self._slots = Slots(hands.config.parallel_instances, _SLOW, hands.clock)
        self._said: set[str] = set()  # partitions of which something was told that could not be remembered

    def table(self) -> Mapping[Step, Callable[[DesiredInstance], Requeue | None]]:
        return {
            Step.CLEAR: self._clear,
            Step.DESTROY: self._destroy,
            Step.STOP: self._stop,
            Step.HOLD: self._hold,
            Step.WAIT_FOR_SOFTWARE: self._wait_for_software,
            Step.INSTANTIATE: self._instantiate,
            Step.WAIT_TO_RETRY: self._wait_to_retry,
            Step.START: self._start,
            Step.REVIVE: self._revive,
            Step.CHECK: self._check,
            Step.REST: self._rest,
        }

    def fail(self, desired: DesiredInstance, error: SlapError | OSError) -> Requeue:
        """Report that a step failed; returns when to take it again."""
        if isinstance(error, Unreachable):  # supervisord is about to be started again
            return Requeue(0.2, content=False)
        log.error("%s: %s", desired.partition, error)
        try:
            record = self._record(desired)
            if record.guid != desired.guid:  # what is left of another one has to be kept in mind
                return self._say(desired, error)
            failures = record.failures + 1
            self._report(
                desired, record.model_copy(update={"failures": failures}), ReportedInstanceState.ERROR, str(error)
            )
            return Requeue(delay(failures))
        except SlapError:  # even that cannot be written down
            return self._say(desired, error)

    def _say(self, desired: DesiredInstance, error: SlapError | OSError) -> Requeue:
        self._said.add(desired.partition)
        report = InstanceReport(guid=desired.guid, state=ReportedInstanceState.ERROR, message=str(error))
        self._reporter.report(report.model_copy(update={"revision": desired.revision}))
        return Requeue(_UNWRITTEN)

    def look(self, desired: DesiredInstance) -> Observation:
        """Observe a partition."""
        record = self._context.store.instance_record(desired.partition)
        folder = self._context.partitions.get(desired.partition)
        processes = tuple(self._context.supervisor.processes(desired.partition))
        return Observation(
            record=record,
            digest=self._digest(desired, folder),
            configured=record is not None and _is_configured(folder, record, bool(processes)),
            supervised=bool(processes),
            processes=processes,
            now=self._now(),
            full=self._context.limits.fullness(desired),
        )

    def _clear(self, desired: DesiredInstance) -> Requeue | None:
        """Empty the partition of a previous instance, whose end the master knows."""
        folder = self._context.partitions.get(desired.partition)
        if self._leave(folder).waits_for:
            return Requeue(_LEAVING, content=False)
        self._empty(folder)
        record = self._context.store.instance_record(desired.partition)
        if record:
            self._context.store.delete_instance_record(desired.partition, record.guid)
        return None

    def _destroy(self, desired: DesiredInstance) -> Requeue:
        folder = self._context.partitions.get(desired.partition)
        farewell = self._leave(folder)
        if farewell.waits_for:
            waits = f"Waits for {farewell.waits_for}."
            self._report(desired, self._record(desired), ReportedInstanceState.STOPPED, waits)
            return Requeue(_LEAVING, content=False)
        self._empty(folder)
        folder.make()
        self._report(desired, fresh_record(desired), ReportedInstanceState.DESTROYED, farewell.complaints)
        log.info("%s: destroyed %s", desired.partition, desired.reference)
        return _REST

    def _leave(self, folder: PartitionFolder) -> RemovalStatus:
        """Stop the services of a destroyed instance, then let managers finish."""
        if not self._context.managers.is_leaving(folder):
            self._end(folder)
        return self._context.managers.leaving(folder)

    def _empty(self, folder: PartitionFolder) -> None:
        self._end(folder)
        folder.clear()
        self._context.managers.emptied(folder)
        self._context.limits.forget(folder)

    def _end(self, folder: PartitionFolder) -> None:
        """End all processes; first remove what would start new ones: cron jobs, supervisord's group."""
        record = self._context.store.instance_record(folder.name)
        if record and record.was_ready:
            self._context.store.save_instance(record.model_copy(update={"was_ready": False}))
        folder.group_file.unlink(missing_ok=True)
        self._context.managers.stopped(folder)
        self._context.supervisor.remove(folder.name)
        folder.end_processes()
        self._watch.forget(folder.name)

    def _stop(self, desired: DesiredInstance) -> Requeue:
        folder = self._context.partitions.get(desired.partition)
        self._end(folder)
        self._report(desired, self._record(desired), ReportedInstanceState.STOPPED)
        log.info("%s: stopped %s", desired.partition, desired.reference)
        return _REST

    def _hold(self, desired: DesiredInstance) -> Requeue:
        """Stop a partition whose disk limit is exceeded."""
        self._end(self._context.partitions.get(desired.partition))
        full = self._context.limits.fullness(desired)
        self._report(desired, self._record(desired), ReportedInstanceState.ERROR, full)
        return _REST  # it is touched when there is room again

    def _wait_for_software(self, desired: DesiredInstance) -> Requeue:
        software = self._context.store.software_record(desired.software_release)
        if software and software.report.state is ReportedSupplyState.ERROR:
            message = f"The software release cannot be built: {software.report.message}"
            self._report(desired, self._record(desired), ReportedInstanceState.ERROR, message)
        elif self._context.store.supply(desired.software_release) is None:
            message = f"The software release {desired.software_release} is not supplied to this computer."
            self._report(desired, self._record(desired), ReportedInstanceState.ERROR, message)
        else:
            self._report(
                desired,
                self._record(desired),
                ReportedInstanceState.INSTANTIATING,
                "The software release is being built.",
            )
        return _REST  # the end of a build touches the partitions that wait for it

    def _instantiate(self, desired: DesiredInstance) -> Requeue | None:
        folder = self._context.partitions.get(desired.partition)
        digest = self._digest(desired, folder)
        with self._slots.one():
            self._report(desired, self._record(desired), ReportedInstanceState.INSTANTIATING)
            result = self._run(desired, folder)
        if result.outcome is Outcome.DONE:
            if result.children > desired.children:  # it was answered while it ran
                digest = self._digest(desired.model_copy(update={"children": result.children}), folder)
            self._instantiated(desired, digest, result)
            return None
        return self._not_instantiated(desired, digest, result)

    def _run(self, desired: DesiredInstance, folder: PartitionFolder) -> BuildResult:
        try:
            folder.make()
            self._context.managers.prepared(folder)
            slapos_files.write_resource(folder)
            limits = self._context.limits.apply(folder, desired)
            job = self._job(desired, folder).model_copy(update={"limits": limits})
        except OSError as error:
            return BuildResult(id=0, outcome=Outcome.FAILED, message=f"{error.filename}: {error.strerror}")
        except SlapError as error:
            return BuildResult(id=0, outcome=Outcome.FAILED, message=str(error))
        return self._context.builder.build(job)

    def _job(self, desired: DesiredInstance, folder: PartitionFolder) -> BuildJob:
        config = self._context.config
        context = PartitionContext(
            master_url=config.master_url,
            computer=config.computer_id,
            software_path=str(config.software(desired.software_release)),
            ipv4=folder.partition.ipv4,
            ipv6=folder.partition.ipv6,
            tap=folder.partition.tap,
            authority=str(config.master_ca_file or ""),
            images=str(config.images),
            firewall=self._context.managers.guard(),
            patience=_PATIENCE if self._slots.are_plenty() else 0,
            instance=desired,
        )
        template = find_template(Path(context.software_path), desired.software_type)
        files.write(folder.logs / "buildout.log", "")
        return BuildJob(
            id=0,
            folder=str(folder.path),
            profile=instance_profile(desired, str(template), _options(context, folder)),
            log=str(folder.logs / "buildout.log"),
            environment={NODE_MARK: str(config.root), PARTITION_MARK: str(folder.path)},
            user=folder.account.user,
            group=folder.account.group,
            timeout=config.instance_timeout,
            context=context,
        )

    def _instantiated(self, desired: DesiredInstance, digest: str, result: BuildResult) -> None:
        folder = self._context.partitions.get(desired.partition)
        record = self._record(desired).model_copy(
            update={
                "applied": digest,
                "failed": "",
                "failures": 0,
                "installed": folder.with_digests(result.installed),
                "release": desired.software_release,
                "unready_since": self._now(),
                "was_ready": False,
                "connection": result.connection,
                "shared": result.shared,
            }
        )
        self._watch.forget(desired.partition)
        slapos_files.write_success(folder, desired.revision)
        # Stopped by hand: that lasts until the partition is processed again. Changed programs start by themselves.
        if self._context.supervisor.processes(folder.name) and _is_configured(folder, record, supervised=True):
            self._context.supervisor.start(folder.name)
        self._report(desired, record, ReportedInstanceState.INSTANTIATING)
        self._reporter.notify(desired.partition)  # whoever requested this instance waits for what it published

    def _not_instantiated(self, desired: DesiredInstance, digest: str, result: BuildResult) -> Requeue:
        record = self._record(desired)
        waits = result.outcome is Outcome.WAITING
        failures = 0 if waits else record.failures + 1
        pause = _WAIT_FOR_CHILDREN if waits else delay(failures)
        changed = record.model_copy(
            update={"failed": digest, "failures": failures, "retry_at": self._now() + pause, "was_ready": False}
        )
        state = ReportedInstanceState.INSTANTIATING if waits else ReportedInstanceState.ERROR
        slapos_files.write_failure(self._context.partitions.get(desired.partition), result.message)
        self._report(desired, changed, state, result.message)
        log.log(logging.INFO if waits else logging.ERROR, "%s: %s", desired.partition, result.message)
        return Requeue(pause)

    def _rest(self, desired: DesiredInstance) -> Requeue:
        self._save(desired, self._record(desired))
        return _REST

    def _wait_to_retry(self, desired: DesiredInstance) -> Requeue:
        record = self._record(desired)
        self._save(desired, record)
        return Requeue(max(0.1, record.retry_at - self._now()))

    def _start(self, desired: DesiredInstance) -> None:
        """Give supervisord what the instantiation installed; it restarts only changed programs."""
        folder = self._context.partitions.get(desired.partition)
        record = self._record(desired)
        text = folder.group(record.installed)
        if not text:
            folder.group_file.unlink(missing_ok=True)
            self._context.supervisor.remove(folder.name)
            return
        self._context.managers.configured(folder)
        self._context.limits.apply(folder, desired)
        starting = record.model_copy(update={"unready_since": self._now(), "was_ready": False})
        self._context.store.save_instance(starting)
        files.make_folder(folder.logs, 0o750)
        files.write_if_changed(folder.group_file, text, 0o600)
        self._context.supervisor.update(folder.name)
        self._context.store.save_instance(starting.model_copy(update={"supervised": _mark(text)}))

    def _revive(self, desired: DesiredInstance) -> Requeue:
        record = self._record(desired)
        failures = record.failures + 1
        update = {"failures": failures, "retry_at": self._now() + delay(failures)}
        self._context.store.save_instance(record.model_copy(update=update))
        self._context.supervisor.start(desired.partition)
        return Requeue(0.1)

    def _check(self, desired: DesiredInstance) -> Requeue:
        folder = self._context.partitions.get(desired.partition)
        self._context.managers.configured(folder)
        self._context.limits.apply(folder, desired)
        record, again = self._watch.check(folder, self._record(desired))
        self._save(desired, record)
        if self._context.managers.watch(folder):
            return replace(again, seconds=min(again.seconds, _MANAGED))
        return again

    def _record(self, desired: DesiredInstance) -> InstanceRecord:
        return self._context.store.instance_record(desired.partition) or fresh_record(desired)

    def _report(
        self, desired: DesiredInstance, record: InstanceRecord, state: ReportedInstanceState, message: str = ""
    ) -> None:
        report = InstanceReport(guid=record.guid, state=state, message=message)
        if state is not ReportedInstanceState.DESTROYED:
            connection = connection_of(read_published(self._context.partitions.get(desired.partition)), record)
            report = report.model_copy(update={"connection": connection, "shared": record.shared})
        self._save(desired, record.model_copy(update={"report": report}))

    def _save(self, desired: DesiredInstance, acted: InstanceRecord) -> None:
        """Save a record and report it if the master does not know it."""
        report = acted.report.model_copy(update={"revision": desired.revision})
        record = acted.model_copy(update={"report": report})
        told = self._context.store.save_instance(record, anew=record.partition in self._said)
        self._said.discard(record.partition)
        if not told:
            self._reporter.notify(record.partition, urgent=report.state is not ReportedInstanceState.INSTANTIATING)

    def _digest(self, desired: DesiredInstance, folder: PartitionFolder) -> str:
        marker = read_marker(self._context.config.software(desired.software_release))
        return digest_of(desired, marker.fingerprint, folder.addresses) if marker else ""

    def _now(self) -> float:
        return self._context.clock.now().timestamp()


def _is_configured(folder: PartitionFolder, record: InstanceRecord, supervised: bool) -> bool:
    """Whether supervisord's file of a partition is current, and loaded by the running supervisord."""
    wanted = folder.group(record.installed)
    if files.read_or(folder.group_file, "") != wanted or supervised != bool(wanted):
        return False
    return not wanted or record.supervised == _mark(wanted)


def _mark(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:16]


def _options(context: PartitionContext, folder: PartitionFolder) -> dict[str, str]:
    return {
        "directory": str(folder.path),
        "software-path": context.software_path,
        "computer-id": context.computer,
        "server-url": context.master_url,
        "context": str(folder.path / CONTEXT_FILE),
        "shared-part-list": str(folder.config.shared_parts),
    }
