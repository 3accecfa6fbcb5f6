"""Single passes: `slapos node software|instance|report|promise`."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace

from slap.model.errors import Conflict, NotFound, SlapError, Unreachable
from slap.model.promise import PromiseResult
from slap.model.software import software_id
from slap.model.state import ReportedInstanceState, ReportedSupplyState
from slap.node.agent import EVERYTHING
from slap.node.core.marker import MARKER
from slap.node.core.store import InstanceRecord, SoftwareRecord
from slap.node.node import Key, Kind, Node
from slap.node.partition.slapos_files import is_stale
from slap.node.partition.supervision import ensure_running
from slap.node.promise.runner import limited
from slap.node.software.reconciler import FORCED
from slap.system import files
from slap.system.supervisor import announce, listen

# Between two looks at what the agent does about a pass.
_GLANCE = 0.2
# What is done about a key that is not to be waited for any more.
_SETTLED = frozenset({"keep", "check", "rest", "wait", "wait to retry", "wait for software", "nothing"})


class PassRuns(Conflict):
    """Another pass of the same kind runs; its exit status is SlapOS's."""

    exit_code = 10


class PromisesFail(SlapError):
    """All was processed, but promises fail; its exit status is SlapOS's."""

    exit_code = 2


class Offline(SlapError):
    """The master did not answer, and its last desired state was processed; its exit status is SlapOS's."""

    exit_code = 3


@dataclass(frozen=True)
class PassOptions:
    """What to process: `only` has names of partitions, or URLs or MD5 sums of releases; else all."""

    patience: float
    only: frozenset[str] = frozenset()
    force: bool = False
    periodicity: float | None = None  # seconds after which an instantiation is made again


@dataclass(frozen=True)
class PassResult:
    """The result of a pass: failures, failing promises, and what is not content yet."""

    failures: tuple[str, ...] = ()
    promises: tuple[str, ...] = ()
    unfinished: tuple[str, ...] = ()
    offline: str = ""  # why the master could not be asked
    by_agent: bool = False
    notes: Mapping[str, str] = field(default_factory=dict)  # by URL, where a release came from

    def check(self) -> None:
        """Raise the worst result of a pass as an error."""
        if self.failures or self.unfinished:
            late = tuple(f"{name} is not finished; the next pass goes on with it." for name in self.unfinished)
            raise SlapError("Not everything is as requested.", "\n".join((*self.failures, *late)), _LOOK)
        if self.promises:
            raise PromisesFail("Promises fail.", "\n".join(self.promises), _LOOK)
        if self.offline:
            raise Offline("The master did not answer; what it last wanted is done.", self.offline)


def run_pass(node: Node, kind: Kind, asked: PassOptions) -> PassResult:
    """Process all or some releases or partitions; a running agent does it if there is one."""
    with _only_pass(node, kind), files.exclusive(node.config.run / "agent.lock", wait=False, shared=True) as mine:
        return _run_own_pass(node, kind, asked) if mine else _run_by_agent(node, kind, asked)


def plan_pass(node: Node, kind: Kind, asked: PassOptions) -> dict[str, str]:
    """The first step that a pass would take for each release or partition, without taking it."""
    node.synchronize()
    return {key.name: node.next_step(key) for key in _keys(node, kind, asked.only)}


def report_all(node: Node) -> int:
    """Report everything to the master, whether it was reported before or not."""
    node.store.mark_all_unreported()
    node.reporter.requeue_unreported()
    return node.reporter.flush() + node.usage.report()


def run_promises(node: Node, partitions: list[str]) -> dict[str, tuple[PromiseResult, ...]]:
    """Run all promises of some partitions now, and report changes."""
    results = {}
    for name in partitions:
        record = node.store.instance_record(name)
        if record and record.installed.checks:
            checks = limited(record.installed.checks, node.config.promise_timeout)
            results[name] = node.promises.run(node.partitions.get(name).place(), checks)
            node.store.add_results(name, results[name])
    return results


def agent_runs(node: Node) -> bool:
    with files.exclusive(node.config.run / "agent.lock", wait=False, shared=True) as free:
        return not free


def stop_services(node: Node, only: frozenset[str]) -> list[str]:
    """Stop the services of partitions whatever is requested; returns the partitions that had any."""
    names = set(node.supervisor.groups()) & {key.name for key in _keys(node, Kind.INSTANCE, only)}
    for name in names:
        node.supervisor.control("stopProcessGroup", name)
    return sorted(names)


@contextmanager
def _only_pass(node: Node, kind: Kind) -> Iterator[None]:
    """Lock a kind of pass: two of one kind never run at a time."""
    with files.exclusive(node.config.run / f"pass-{kind}.lock", wait=False) as got:
        if not got:
            raise PassRuns(f"Another pass over {kind} runs already.", "It does what this one would do.")
        yield


def _run_by_agent(node: Node, kind: Kind, asked: PassOptions) -> PassResult:
    keys = _keys(node, kind, asked.only)
    _process_anew(node, keys, asked)
    announce(node.config.events, EVERYTHING, "pass", "asked")
    deadline = node.clock.monotonic() + asked.patience
    while (busy := _unsettled(node, keys)) and node.clock.monotonic() < deadline:
        node.clock.sleep(_GLANCE)
    return _result(node, kind, keys, _Course(unfinished=busy, by_agent=True))


def _run_own_pass(node: Node, kind: Kind, asked: PassOptions) -> PassResult:
    with ExitStack() as stack:
        stack.enter_context(listen(node.config.events, lambda group, process, event: node.news.tell(group)))
        if kind is Kind.INSTANCE:
            ensure_running(node.config, node.supervisor)
        offline = _synchronize(node, kind)
        node.reporter.requeue_unreported()
        keys = _keys(node, kind, asked.only)
        _process_anew(node, keys, asked)
        node.scheduler.touch(keys)
        unfinished = {key.name for key in node.scheduler.drain(asked.patience)}
        if not offline:
            node.reporter.flush()
    return _result(node, kind, keys, _Course(unfinished=unfinished, offline=offline))


def _synchronize(node: Node, kind: Kind) -> str:
    """Fetch the desired state; returns why the master could not be asked. The stored state still serves."""
    try:
        node.synchronize()
    except Unreachable as error:
        if kind is Kind.SOFTWARE:
            raise
        return str(error)
    return ""


def _process_anew(node: Node, keys: list[Key], asked: PassOptions) -> None:
    """Forget what would make named work unnecessary: past failures, and with `force` that it is done."""
    for key in keys:
        if key.kind is Kind.SOFTWARE:
            _build_anew(node, key.name, asked)
        elif record := node.store.instance_record(key.name):
            changed = forgotten(record, asked, _is_due(node, record, asked))
            if changed != record:
                node.store.save_instance(changed)


def _is_due(node: Node, record: InstanceRecord, asked: PassOptions) -> bool:
    now = node.clock.now().timestamp()
    return record.applied != "" and is_stale(node.config.partition(record.partition), now, asked.periodicity)


def forgotten(record: InstanceRecord, asked: PassOptions, due: bool) -> InstanceRecord:
    update: dict[str, object] = {"failed": "", "retry_at": 0.0} if asked.force or asked.only else {}
    return record.model_copy(update=update | ({"applied": ""} if asked.force or due else {}))


def _build_anew(node: Node, url: str, asked: PassOptions) -> None:
    record = node.store.software_record(url)
    if record and (asked.force or (asked.only and record.failures)):
        node.store.save_software(record.model_copy(update={"revision": FORCED, "failures": 0, "retry_at": 0.0}))
    if asked.force:
        files.remove_tree(node.config.software(url) / MARKER)


def _keys(node: Node, kind: Kind, only: frozenset[str]) -> list[Key]:
    known = sorted((key for key in node.all_keys() if key.kind is kind), key=lambda key: key.name)
    if not only:
        return known
    found = [key for key in known if key.name in only or (kind is Kind.SOFTWARE and software_id(key.name) in only)]
    _check_names(node, kind, found, only)
    return found


def _check_names(node: Node, kind: Kind, found: list[Key], only: frozenset[str]) -> None:
    """Raise NotFound for an unknown name; a free partition is no mistake."""
    known = {key.name for key in found} | {software_id(key.name) for key in found}
    if kind is Kind.INSTANCE:
        known |= set(node.partitions.names())
    if wrong := sorted(only - known):
        resolution = "slapos computer info shows what there is."
        raise NotFound(f"This computer has no {_NOUNS[kind]} {', '.join(wrong)}.", resolution=resolution)


def _unsettled(node: Node, keys: list[Key]) -> set[str]:
    return {key.name for key in keys if node.next_step(key) not in _SETTLED or _starts(node, key)}


def _starts(node: Node, key: Key) -> bool:
    record = node.store.instance_record(key.name) if key.kind is Kind.INSTANCE else None
    waits = node.next_step(key) != "check"
    return record is not None and not waits and record.report.state is ReportedInstanceState.INSTANTIATING


@dataclass(frozen=True)
class _Course:
    """How a pass went, apart from its results."""

    unfinished: set[str] = field(default_factory=set)
    offline: str = ""
    by_agent: bool = False


def _result(node: Node, kind: Kind, keys: list[Key], course: _Course) -> PassResult:
    names = {key.name for key in keys}
    if kind is Kind.SOFTWARE:
        built = [each for each in node.store.software_records() if each.url in names]
        failures = [f"{r.url}: {r.report.message}" for r in built if r.report.state is ReportedSupplyState.ERROR]
        result = _pass_result(failures, [], course.unfinished - _failed_urls(node), course)
        return replace(result, notes=_origins(built))
    records = [each for each in node.store.instance_records() if each.partition in names]
    promises = {each.partition for each in records if promises_fail(each)}
    failures = [_words(each) for each in records if is_failure(each) and each.partition not in promises]
    words = [_words(each) for each in records if each.partition in promises]
    return _pass_result(failures, words, course.unfinished - promises, course)


def _origins(records: list[SoftwareRecord]) -> dict[str, str]:
    """Notes on where releases came from."""
    available = [each for each in records if each.report.state is ReportedSupplyState.AVAILABLE]
    return {each.url: each.report.message for each in available if each.report.message}


def is_failure(record: InstanceRecord) -> bool:
    """Whether a partition is not what was requested, and nobody works on it."""
    state = record.report.state
    waits = record.applied == "" or record.failed != ""
    return state is ReportedInstanceState.ERROR or (state is ReportedInstanceState.INSTANTIATING and waits)


def promises_fail(record: InstanceRecord) -> bool:
    """Whether a partition was instantiated, and a promise of it does not hold."""
    ended_well = record.applied != "" and not record.failed
    return ended_well and is_unready(record) and any(not each.passed for each in record.report.promises)


def is_unready(record: InstanceRecord) -> bool:
    return record.report.state in (ReportedInstanceState.ERROR, ReportedInstanceState.INSTANTIATING)


def _failed_urls(node: Node) -> set[str]:
    return {each.url for each in node.store.software_records() if each.report.state is ReportedSupplyState.ERROR}


def _pass_result(failures: list[str], promises: list[str], unfinished: set[str], course: _Course) -> PassResult:
    late = tuple(sorted(unfinished))
    return PassResult(tuple(failures), tuple(promises), late, course.offline, course.by_agent)


def _words(record: InstanceRecord) -> str:
    return f"{record.partition}: {record.report.message}"


_NOUNS = {Kind.SOFTWARE: "software release", Kind.INSTANCE: "partition"}
_LOOK = "Look with `slapos node status`, and into the logs with `slapos service logs NAME`."
