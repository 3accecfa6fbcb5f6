"""A node: wires its parts, fetches the desired state, and dispatches work to reconcilers."""

import logging
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from enum import StrEnum

from slap.client.connect import connect as connect_master
from slap.client.master import Master
from slap.model.errors import SlapError
from slap.model.node import DesiredState, InstanceReport, LogAnswer, LogRequest, NodeReport, SupplyReport
from slap.model.state import ReportedInstanceState, ReportedSupplyState, SupplyState
from slap.node.buildout.builder import WarmBuilder
from slap.node.cache.tools import CacheTools
from slap.node.core.accounts import software_account
from slap.node.core.config import NodeConfig
from slap.node.core.logs import read_logs
from slap.node.core.marker import MARKER, read_fingerprint
from slap.node.core.report import Reporter
from slap.node.core.scheduler import Requeue, Scheduler
from slap.node.core.store import Store
from slap.node.identity.credentials import Renewal, computer_credentials, stamp
from slap.node.limits.enforcement import make_keeper
from slap.node.limits.eyes import SystemEyes
from slap.node.limits.watcher import LimitsWatcher
from slap.node.manager.base import Tools
from slap.node.manager.registry import make_managers
from slap.node.partition.folder import Partitions
from slap.node.partition.monitor import PartitionMonitor
from slap.node.partition.reconciler import Reconciler
from slap.node.partition.steps import StepContext, Steps
from slap.node.partition.supervision import connect, partition_of
from slap.node.promise.plugin_launcher import PluginLauncher
from slap.node.promise.runner import PromiseRunner
from slap.node.software.cached_releases import make_node_cache
from slap.node.software.reconciler import SoftwareReconciler
from slap.node.usage.collect import Collector
from slap.node.usage.report import UsageMaster, UsageReporter
from slap.node.usage.store import UsageStore
from slap.system.clock import SystemClock
from slap.system.process import SystemRunner
from slap.system.supervisor import News

log = logging.getLogger(__name__)


class Kind(StrEnum):
    SOFTWARE = "software"
    INSTANCE = "instance"


@dataclass(frozen=True)
class Key:
    """A piece of work: a release by its URL, or a partition by its name."""

    kind: Kind
    name: str


class Node:
    """All the parts of a node. `close` ends what it started, but for the services."""

    def __init__(self, config: NodeConfig, role: str = "") -> None:
        """`role` is that of its builder."""
        config.make_folders()
        self.config = config
        self.clock = SystemClock()
        self.runner = SystemRunner()
        self.executor = ThreadPoolExecutor(8, "logs")
        self.news = News()
        self.supervisor = connect(config, self.news)
        self.store = Store(config.store_file)
        self.partitions = Partitions(config)
        self.builder = WarmBuilder(config.root, role)
        self.reporter = Reporter(config.computer_id, self.master, self.store, self._partition_is_free)
        plugins = PluginLauncher(config.run / "plugin", self.runner)
        self.promises = PromiseRunner(self.runner, self.clock, plugins)
        self.scheduler: Scheduler[Key] = Scheduler(self._work, self.clock)
        self._begins_anew = self.store.has_unusable()
        self._masters = threading.local()
        self._renewal = Renewal(config, self.clock)
        self.usage_store = UsageStore(config.usage_file)
        self.collector = Collector(config, self.usage_store, self.clock)
        told = UsageMaster(self.master, config.computer_id)
        self.usage = UsageReporter(self.collector, self.usage_store, self.store.instances, told)
        account = software_account(config)
        self.cache = make_node_cache(CacheTools(config, self.clock), account, read_fingerprint, MARKER)
        self._software = SoftwareReconciler(config, self.store, self.builder, self.clock, account, self.reporter)
        self._software.cache = self.cache
        self._instances = self._reconciler()
        self._software.limits = self.limits

    def master(self) -> Master:
        """The master's client of this thread, with the credentials that are in force now."""
        now = stamp(self.config)
        if getattr(self._masters, "stamp", None) != now:
            master = connect_master(self.config.master_url, computer_credentials(self.config))
            self._masters.master, self._masters.stamp = master, now
        return self._masters.master  # type: ignore[no-any-return]

    def synchronize(self, wait: float = 0) -> set[Key]:
        """Fetch and store changes of the desired state; returns the keys to work on. Raises SlapError."""
        wait = min(wait, self._renewal.once())
        known, self._begins_anew = 0 if self._begins_anew else self.store.revision(), False
        desired = self.master().desired_state(self.config.computer_id, known, wait, self.store.incarnation())
        if desired.since and desired.revision == known and not desired.logs:
            return set()
        try:
            self.store.apply(desired)
        except SlapError as error:
            self._decline(desired, error)
            raise
        if desired.since == 0:
            self.reporter.requeue_unreported()
        for guid, reason in desired.unusable.items():
            words = f"This node cannot use what is requested of this instance: {reason}"
            report = InstanceReport(guid=guid, state=ReportedInstanceState.ERROR, message=words)
            self.reporter.report(report.model_copy(update={"revision": desired.revision}))
        for request in desired.logs:
            self.executor.submit(self._answer_logs, request)
        return keys_of(desired)

    def _decline(self, desired: DesiredState, error: SlapError) -> None:
        """Report that the desired state could not be stored, so that requesters learn why nothing happens."""
        why = str(error)
        for supply in desired.supplies:
            self.reporter.report(SupplyReport(url=supply.url, state=ReportedSupplyState.ERROR, message=why))
        for each in desired.instances:
            state, revision = ReportedInstanceState.ERROR, each.revision
            self.reporter.report(InstanceReport(guid=each.guid, revision=revision, state=state, message=why))

    def all_keys(self) -> set[Key]:
        """All supplies and instances that this node knows."""
        supplies = {Key(Kind.SOFTWARE, supply.url) for supply in self.store.supplies()}
        return supplies | {Key(Kind.INSTANCE, each.partition) for each in self.store.instances()}

    def next_step(self, key: Key) -> str:
        """The name of the first step that working on a key would take."""
        step = self._instances.next_step(key.name) if key.kind is Kind.INSTANCE else self._software.next_step(key.name)
        return step.value if step else "nothing"

    def touch_partition(self, group: str) -> None:
        """Work on the partition that a supervised group belongs to."""
        self.scheduler.touch([Key(Kind.INSTANCE, partition_of(group))])

    def close(self) -> None:
        self.scheduler.stop()
        self.reporter.stop()
        self.builder.close()
        self.cache.close()
        self.executor.shutdown(wait=False, cancel_futures=True)

    def _reconciler(self) -> Reconciler:
        managers = make_managers(Tools(self.config, self.supervisor, self.runner, self.clock))
        hands = StepContext(
            self.config, self.store, self.builder, self.supervisor, self.clock, self.partitions, managers
        )
        self.limits = LimitsWatcher(
            make_keeper(self.config),
            SystemEyes(self.config),
            self.usage_store,
            self.touch_partition,
            self.config.instance_root,
        )
        hands = replace(hands, limits=self.limits)
        watch = PartitionMonitor(self.config, self.store, self.supervisor, self.promises, self.clock)
        watch.trouble = self.limits.trouble
        steps = Steps(hands, watch, self.reporter)
        return Reconciler(self.store.instance_in, steps.look, steps.table(), steps.fail)

    def _work(self, key: Key) -> Requeue:
        if key.kind is Kind.INSTANCE:
            return self._instances.once(key.name)
        before = self.store.software_record(key.name)
        again = self._software.once(key.name)
        if self.store.software_record(key.name) != before:
            self.scheduler.touch(self._users_of(key.name))
        return again

    def _users_of(self, url: str) -> list[Key]:
        return [Key(Kind.INSTANCE, each.partition) for each in self.store.instances() if each.software_release == url]

    def _partition_is_free(self, partition: str) -> None:
        """Work on a partition whose instance is gone, and on the release that it used."""
        going = [each.url for each in self.store.supplies() if each.state is SupplyState.DESTROYED]
        self.scheduler.touch([Key(Kind.INSTANCE, partition), *(Key(Kind.SOFTWARE, url) for url in going)])

    def _answer_logs(self, request: LogRequest) -> None:
        try:
            text = read_logs(self.config, request.partition, request.lines)
            self.master().report(self.config.computer_id, NodeReport(logs=(LogAnswer(id=request.id, text=text),)))
        except (SlapError, OSError) as error:
            log.warning("Logs of %s could not be told: %s", request.partition, error)


def keys_of(desired: DesiredState) -> set[Key]:
    """The keys of all that a desired state changes."""
    supplies: Iterable[Key] = (Key(Kind.SOFTWARE, supply.url) for supply in desired.supplies)
    partitions = {*(each.partition for each in desired.instances), *desired.complete}
    return {*supplies, *(Key(Kind.INSTANCE, each) for each in partitions)}


def computer_master(config: NodeConfig) -> Master:
    """A client of the master with this computer's credentials."""
    return connect_master(config.master_url, computer_credentials(config))
