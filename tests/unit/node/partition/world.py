"""One partition with its steps, over fakes that keep what a real supervisord and builder would keep."""

import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

from slap.model.node import DesiredInstance
from slap.model.state import InstanceState, ReportedInstanceState
from slap.node.buildout.job import BuildJob, BuildResult, Outcome
from slap.node.core.marker import MARKER, Marker
from slap.node.core.report import Reporter
from slap.node.core.scheduler import Requeue
from slap.node.core.store import Installed, InstanceRecord, Store
from slap.node.partition.folder import Partitions
from slap.node.partition.monitor import PartitionMonitor
from slap.node.partition.reconciler import Reconciler
from slap.node.partition.steps import StepContext, Steps
from slap.node.promise.runner import PromiseRunner
from slap.system import files
from slap.system.clock import FakeClock
from slap.system.process import FakeRunner
from slap.system.supervisor import ProcessInfo, ProcessState
from tests.unit.node.things import PART, URL, Ear, a_config, an_instance, wants


class Supervisord:
    """Runs what the file of a group says, from the moment that it is told to."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.taken: dict[str, str] = {}

    def update(self, group: str) -> None:
        self.taken[group] = (self._folder / f"{group}.conf").read_text()

    def remove(self, group: str) -> None:
        self.taken.pop(group, None)

    def start(self, group: str) -> None:
        return None

    def processes(self, group: str) -> list[ProcessInfo]:
        return [ProcessInfo("web", ProcessState.RUNNING)] if group in self.taken else []

    def groups(self) -> list[str]:
        return sorted(self.taken)


class Builder:
    """Leaves a file in the partition, and says that it installed a service made from the parameters."""

    def __init__(self) -> None:
        self.jobs: list[BuildJob] = []
        self.outcome = Outcome.DONE

    def build(self, job: BuildJob) -> BuildResult:
        self.jobs.append(job)
        Path(job.folder, "made").write_text(job.profile)
        assert job.context
        text = str(job.context.instance.parameters)
        installed = Installed(services={"web": ""}) if self.outcome is Outcome.DONE else Installed()
        executable = Path(job.folder, "etc/service/web")
        executable.parent.mkdir(parents=True, exist_ok=True)
        executable.write_text(text)
        return BuildResult(id=0, outcome=self.outcome, message="words", installed=installed, connection={"url": text})

    def close(self) -> None:
        return None


class World:
    """What lasts when the agent is killed; `agent` makes all that does not."""

    def __init__(self, folder: Path) -> None:
        self.config = a_config(folder)
        self.clock = FakeClock()
        self.supervisord = Supervisord(self.config.supervisor_folder)
        self.builder = Builder()
        self.ear = Ear()
        self.store = Store(self.config.store_file)
        self.build("f")

    def build(self, fingerprint: str) -> None:
        files.make_folder(self.config.software(URL))
        (self.config.software(URL) / MARKER).write_text(Marker(url=URL, fingerprint=fingerprint).model_dump_json())

    def wants(self, **changes: Any) -> DesiredInstance:
        revision = self.store.revision() + 1
        desired = an_instance(revision=revision, **changes)
        wants(self.store, desired, revision=revision)
        return desired

    def agent(self) -> "Agent":
        return Agent(self)

    @property
    def record(self) -> InstanceRecord:
        record = self.store.instance_record(PART)
        assert record
        return record

    @property
    def told(self) -> str:
        return self.ear.states[-1] if self.ear.states else ""


class Agent:
    """The parts of an agent that know of nothing but this life."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.store = Store(world.config.store_file)
        self.reporter = Reporter("COMP-1", world.ear.master, self.store, lambda name: None)
        promises = PromiseRunner(FakeRunner(), world.clock)
        watch = PartitionMonitor(world.config, self.store, world.supervisord, promises, world.clock)
        partitions = Partitions(world.config)
        hands = StepContext(world.config, self.store, world.builder, world.supervisord, world.clock, partitions)
        self.steps = Steps(hands, watch, self.reporter)
        self.reconciler = Reconciler(self.store.instance_in, self.steps.look, self.steps.table(), self.steps.fail)

    def work(self) -> Requeue:
        """One round, as after a start or a touch, and its reports."""
        again = self.reconciler.once(PART)
        self.reporter.requeue_unreported()
        self.reporter.flush()
        return again


class Killed(BaseException):
    """As by kill -9: nobody catches this."""


def killed_at(line: int, work: Callable[[], object]) -> bool:
    """Do some work, but be killed at its n-th line within the node's own code; whether it was that long.

    In a thread of its own: what is raised by a trace function leaves its mark on the thread.
    """
    left = line

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal left
        if "/slap/node/" not in frame.f_code.co_filename:
            return None
        if event == "line":
            left -= 1
            if left == 0:
                raise Killed
        return trace

    def live() -> None:
        with suppress(Killed):
            sys.settrace(trace)
            work()

    thread = threading.Thread(target=live)
    thread.start()
    thread.join()
    return left <= 0


STOPPED, DESTROYED = InstanceState.STOPPED, InstanceState.DESTROYED
REPORTED_STARTED = ReportedInstanceState.STARTED
