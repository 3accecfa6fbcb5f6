"""Desired things, records of what was done, and the fakes that the tests of the node share."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slap.client.master import Master
from slap.client.native import NativeMaster
from slap.model.computer import Partition
from slap.model.errors import SlapError, Unreachable
from slap.model.node import DesiredInstance, DesiredState, DesiredSupply, InstanceReport, NodeReport
from slap.model.state import InstanceState, ReportedInstanceState, SupplyState
from slap.node.buildout.job import BuildJob, BuildResult, Outcome
from slap.node.core.config import NodeConfig, default_root
from slap.node.core.store import InstanceRecord, Store
from slap.node.format.plan import finish
from slap.system.transport import Reply

URL = "http://example.com/hello/software.cfg"
PART = "slappart0"


def a_config(folder: Path, **changes: Any) -> NodeConfig:
    """A node that was formatted with two partitions."""
    config = NodeConfig(master_url="http://127.0.0.1:9", computer_id="COMP-1", **default_root(folder), **changes)
    config.make_folders()
    finish(config, tuple(Partition(name=f"slappart{n}", ipv4=(f"127.77.0.{n + 2}",)) for n in range(2)))
    return config


def an_instance(**changes: Any) -> DesiredInstance:
    known: dict[str, Any] = {
        "guid": "INST-1", "partition": PART, "reference": "hello", "root": "INST-1", "root_reference": "hello",
        "software_release": URL, "software_type": "default", "parameters": {}, "state": InstanceState.STARTED,
        "token": "secret",
    }  # fmt: skip
    return DesiredInstance(**(known | changes))


def a_supply(**changes: Any) -> DesiredSupply:
    return DesiredSupply(**({"url": URL, "state": SupplyState.AVAILABLE, "revision": 1} | changes))


def a_report(state: ReportedInstanceState = ReportedInstanceState.STARTED, **changes: Any) -> InstanceReport:
    return InstanceReport(**({"guid": "INST-1", "state": state} | changes))


def a_record(**changes: Any) -> InstanceRecord:
    return InstanceRecord(**({"partition": PART, "guid": "INST-1", "report": a_report()} | changes))


def record_in(store: Store, partition: str = PART) -> InstanceRecord:
    """The record of a partition that has one."""
    found = store.instance_record(partition)
    assert found is not None
    return found


def wants(store: Store, *wishes: DesiredInstance | DesiredSupply, revision: int = 1, since: int = 1) -> None:
    """Have the master want something."""
    supplies = tuple(each for each in wishes if isinstance(each, DesiredSupply))
    instances = tuple(each for each in wishes if isinstance(each, DesiredInstance))
    state = DesiredState(computer="COMP-1", revision=revision, since=since, supplies=supplies, instances=instances)
    store.apply(state)


@dataclass
class Ear:
    """The transport to a master that takes reports, or refuses those that `refuses` gives an error for."""

    refuses: Callable[[NodeReport], SlapError | None] = lambda report: None
    reports: list[NodeReport] = field(default_factory=list)

    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, timeout: float) -> Reply:
        report = NodeReport.model_validate_json(body or b"{}")
        if error := self.refuses(report):
            if isinstance(error, Unreachable):
                raise error
            return Reply(error.http_status, error.document().model_dump_json().encode())
        self.reports.append(report)
        return Reply(200, b"{}")

    def master(self) -> Master:
        return NativeMaster("http://127.0.0.1:9", "token", self)

    @property
    def states(self) -> list[str]:
        """What was said of instances and releases, one after the other."""
        return [
            state.value
            for report in self.reports
            for state in (*(each.state for each in report.instances), *(each.state for each in report.supplies))
        ]


@dataclass
class FakeBuilder:
    """Answers each job with the next of its results; with the last one again and again."""

    results: list[BuildResult] = field(default_factory=lambda: [BuildResult(id=0, outcome=Outcome.DONE)])
    jobs: list[BuildJob] = field(default_factory=list)

    def build(self, job: BuildJob) -> BuildResult:
        self.jobs.append(job)
        return self.results.pop(0) if len(self.results) > 1 else self.results[0]

    def close(self) -> None:
        return None
