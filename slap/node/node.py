"""A node put together: what its master wants is fetched, each change has its partition or release worked on."""

import logging
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum

from slap.client.connect import connect as connect_master
from slap.client.credentials import Credentials
from slap.client.master import Master
from slap.model.errors import NotFound, SlapError
from slap.model.node import DesiredState, InstanceReport, LogAnswer, LogRequest, NodeReport, SupplyReport
from slap.model.state import ReportedInstanceState, ReportedSupplyState, SupplyState
from slap.node.build.builder import WarmBuilder
from slap.node.config import NodeConfig
from slap.node.instance import Reconciler
from slap.node.logs import read_logs
from slap.node.partition.folder import Partitions
from slap.node.partition.steps import Hands, Steps
from slap.node.partition.supervision import connect
from slap.node.partition.users import software_account
from slap.node.partition.watch import Watch
from slap.node.promise import PromiseRunner
from slap.node.report import Reporter
from slap.node.scheduler import Again, Scheduler
from slap.node.software import SoftwareReconciler
from slap.node.store import Store
from slap.system import files
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

    def __init__(self, config: NodeConfig) -> None:
        config.make_folders()
        self.config = config
        self.clock = SystemClock()
        self.runner = SystemRunner()
        self.executor = ThreadPoolExecutor(8, "logs")
        self.news = News()
        self.supervisor = connect(config, self.news)
        self.store = Store(config.store_file)
        self.partitions = Partitions(config)
        self.builder = WarmBuilder(config.root)
        self.reporter = Reporter(config.computer_id, self.master, self.store, self._partition_is_free)
        self.promises = PromiseRunner(self.runner, self.clock)
        self.scheduler: Scheduler[Key] = Scheduler(self._work, self.clock)
        self._masters = threading.local()
        self._software = SoftwareReconciler(
            config, self.store, self.builder, self.clock, software_account(config), self.reporter
        )
        self._instances = self._reconciler()

    def master(self) -> Master:
        """The master, over a connection of this thread's own, with the token that is in force now."""
        token = read_token(self.config)
        if getattr(self._masters, "token", None) != token:
            master = connect_master(self.config.master_url, Credentials(token))
            self._masters.master, self._masters.token = master, token
        return self._masters.master  # type: ignore[no-any-return]

    def synchronize(self, wait: float = 0) -> set[Key]:
        """Fetch what the master wants differently; returns what is to be worked on. Raises SlapError without a master."""
        known = self.store.revision()
        desired = self.master().desired_state(self.config.computer_id, known, wait)
        if desired.revision == known and not desired.logs:
            return set()
        try:
            self.store.absorb(desired)
        except SlapError as error:
            self._decline(desired, error)
            raise
        if desired.since == 0 and known:  # another master, or one from a backup: it knows nothing of our reports
            self.store.untell()
            self.reporter.recall()
        for request in desired.logs:
            self.executor.submit(self._answer_logs, request)
        return keys_of(desired)

    def _decline(self, desired: DesiredState, error: SlapError) -> None:
        """What is wanted cannot be written down, so it cannot be begun. Who ordered it learns why, until it can be."""
        why = str(error)
        for supply in desired.supplies:
            self.reporter.say(SupplyReport(url=supply.url, state=ReportedSupplyState.ERROR, message=why))
        for each in desired.instances:
            state, revision = ReportedInstanceState.ERROR, each.revision
            self.reporter.say(InstanceReport(guid=each.guid, revision=revision, state=state, message=why))

    def all_keys(self) -> set[Key]:
        """Everything that this node knows of."""
        supplies = {Key(Kind.SOFTWARE, supply.url) for supply in self.store.supplies()}
        return supplies | {Key(Kind.INSTANCE, each.partition) for each in self.store.instances()}

    def next_step(self, key: Key) -> str:
        """In a word, what working on a key would do first."""
        step = self._instances.next_step(key.name) if key.kind is Kind.INSTANCE else self._software.next_step(key.name)
        return step.value if step else "nothing"

    def touch_partition(self, partition: str) -> None:
        self.scheduler.touch([Key(Kind.INSTANCE, partition)])

    def close(self) -> None:
        self.scheduler.stop()
        self.reporter.stop()
        self.builder.close()
        self.executor.shutdown(wait=False, cancel_futures=True)

    def _reconciler(self) -> Reconciler:
        hands = Hands(self.config, self.store, self.builder, self.supervisor, self.clock, self.partitions)
        watch = Watch(self.config, self.store, self.supervisor, self.promises, self.clock)
        steps = Steps(hands, watch, self.reporter)
        return Reconciler(self.store.instance_in, steps.look, steps.table(), steps.fail)

    def _work(self, key: Key) -> Again:
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
        """The next instance may come, and a release that it was the last to use may go."""
        going = [each.url for each in self.store.supplies() if each.state is SupplyState.DESTROYED]
        self.scheduler.touch([Key(Kind.INSTANCE, partition), *(Key(Kind.SOFTWARE, url) for url in going)])

    def _answer_logs(self, request: LogRequest) -> None:
        try:
            text = read_logs(self.config, request.partition, request.lines)
            self.master().report(self.config.computer_id, NodeReport(logs=(LogAnswer(id=request.id, text=text),)))
        except (SlapError, OSError) as error:
            log.warning("Logs of %s could not be told: %s", request.partition, error)


def keys_of(desired: DesiredState) -> set[Key]:
    """What a change of the master's wishes concerns."""
    supplies: Iterable[Key] = (Key(Kind.SOFTWARE, supply.url) for supply in desired.supplies)
    return {*supplies, *(Key(Kind.INSTANCE, each.partition) for each in desired.instances)}


def computer_master(config: NodeConfig) -> Master:
    """The master, spoken to as this computer."""
    return connect_master(config.master_url, Credentials(read_token(config)))


def read_token(config: NodeConfig) -> str:
    """The token of this computer; raises NotFound when it was never registered."""
    token = files.read_or(config.token_file, "").strip()
    if not token:
        raise NotFound(
            "This computer has no token.", f"{config.token_file} is missing.", "Type `slapos node register` first."
        )
    return token
