"""Single passes, as `slapos node software|instance|report|promise` make them."""

from dataclasses import dataclass

from slap.model.promise import PromiseResult
from slap.model.state import ReportedInstanceState, ReportedSupplyState
from slap.node.agent import EVERYTHING
from slap.node.node import Key, Kind, Node
from slap.node.partition.supervision import ensure_running
from slap.system import files
from slap.system.supervisor import announce, listen


@dataclass(frozen=True)
class PassResult:
    """What a pass came to: what failed, in words, and what is not content yet."""

    failures: tuple[str, ...] = ()
    unfinished: tuple[str, ...] = ()
    by_agent: bool = False


def run_pass(node: Node, kind: Kind, patience: float, only: frozenset[str] = frozenset()) -> PassResult:
    """One pass over all releases or all partitions (or `only` some); with an agent running, the agent makes it."""
    with files.exclusive(node.config.run / "agent.lock", wait=False) as mine:
        if not mine:
            announce(node.config.events, EVERYTHING, "pass", "asked")
            return PassResult(by_agent=True)
        return _run_own_pass(node, kind, patience, only)


def plan_pass(node: Node, kind: Kind, only: frozenset[str] = frozenset()) -> dict[str, str]:
    """What a pass would do first with each release or partition; nothing is done but asking the master."""
    node.synchronize()
    return {key.name: node.next_step(key) for key in _keys(node, kind, only)}


def report_all(node: Node) -> int:
    """Tell the master everything that this node knows, whether it was told before or not."""
    node.store.untell()
    node.reporter.recall()
    return node.reporter.flush()


def run_promises(node: Node, partitions: list[str]) -> dict[str, tuple[PromiseResult, ...]]:
    """Run all promises of some partitions now."""
    results = {}
    for name in partitions:
        record = node.store.instance_record(name)
        if record and record.installed.checks:
            results[name] = node.promises.run(node.partitions.get(name).place(), record.installed.checks)
            node.store.add_results(name, results[name])
    return results


def _run_own_pass(node: Node, kind: Kind, patience: float, only: frozenset[str]) -> PassResult:
    with listen(node.config.events, lambda group, process, event: node.news.tell(group)):
        if kind is Kind.INSTANCE:
            ensure_running(node.config, node.supervisor)
        node.synchronize()
        node.reporter.recall()
        node.scheduler.touch(_keys(node, kind, only))
        unfinished = node.scheduler.drain(patience)
        node.reporter.flush()
    return PassResult(_failures(node, kind), tuple(sorted(key.name for key in unfinished)))


def _keys(node: Node, kind: Kind, only: frozenset[str]) -> list[Key]:
    wanted = (key for key in node.all_keys() if key.kind is kind and (not only or key.name in only))
    return sorted(wanted, key=lambda key: key.name)


def _failures(node: Node, kind: Kind) -> tuple[str, ...]:
    if kind is Kind.SOFTWARE:
        records = node.store.software_records()
        return tuple(f"{r.url}: {r.report.message}" for r in records if r.report.state is ReportedSupplyState.ERROR)
    return tuple(
        f"{record.partition}: {record.report.message}"
        for record in node.store.instance_records()
        if record.report.state is ReportedInstanceState.ERROR
    )
