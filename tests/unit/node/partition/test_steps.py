"""Steps in a partition: what each leaves behind, and that being killed at any line of any of them does no harm."""

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from slap.model.errors import CommandFailed, Unreachable
from slap.node.buildout.job import Outcome
from slap.node.core.marker import MARKER
from slap.node.core.scheduler import Requeue
from tests.unit.node.partition.world import DESTROYED, STOPPED, World, killed_at
from tests.unit.node.things import PART, URL, a_record, a_report, a_supply, wants


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_an_order_becomes_a_running_service(world: World) -> None:
    world.wants(parameters={"a": 1})
    again = world.agent().work()
    assert (world.told, world.record.connection, again) == ("started", {"url": "{'a': 1}"}, Requeue(3600.0))
    assert digest_of("{'a': 1}") in world.supervisord.taken[PART]
    assert world.ear.reports[-1].instances[0].revision == 1


def test_nothing_changed_means_no_build_and_no_report(world: World) -> None:
    world.wants()
    agent = world.agent()
    agent.work()
    told = len(world.ear.reports)
    agent.work()
    world.agent().work()
    assert (len(world.builder.jobs), len(world.ear.reports)) == (1, told)


def test_stop_and_start_run_no_buildout(world: World) -> None:
    world.wants()
    agent = world.agent()
    agent.work()
    world.wants(state=STOPPED)
    assert agent.work() == Requeue(86400.0)
    assert (world.told, world.supervisord.taken, world.record.was_ready) == ("stopped", {}, False)
    assert not (world.config.supervisor_folder / f"{PART}.conf").exists()
    world.wants()
    agent.work()
    assert (world.told, len(world.builder.jobs)) == ("started", 1)


def test_destroying_leaves_nothing(world: World) -> None:
    world.wants()
    agent = world.agent()
    agent.work()
    world.wants(state=DESTROYED)
    agent.work()
    assert (world.told, world.store.instance_record(PART), world.supervisord.taken) == ("destroyed", None, {})
    assert list(world.config.partition(PART).iterdir()) == list((world.config.partition_logs / PART).iterdir()) == []
    assert agent.work() == Requeue(86400.0)


def test_the_next_instance_finds_an_empty_partition(world: World) -> None:
    world.wants()
    agent = world.agent()
    agent.work()
    Path(world.config.partition(PART), "secret").write_text("of the first")
    world.wants(state=DESTROYED)
    world.store.forget_instance("INST-1")
    world.wants(guid="INST-2")
    agent.work()
    assert (world.record.guid, world.told) == ("INST-2", "started")
    assert not Path(world.config.partition(PART), "secret").exists()


def test_waiting_for_a_child_is_no_failure(world: World) -> None:
    world.wants()
    world.builder.outcome = Outcome.WAITING
    agent = world.agent()
    assert agent.work() == Requeue(300.0)
    assert (world.told, world.record.report.message, world.record.failures) == ("instantiating", "words", 0)
    world.builder.outcome = Outcome.DONE
    assert agent.work().seconds > 100  # nothing that it waits for has changed
    world.wants(children=1)
    agent.work()
    assert world.told == "started"


def test_failures_are_retried_less_and_less_often_and_a_change_at_once(world: World) -> None:
    world.wants()
    world.builder.outcome = Outcome.FAILED
    agent, pauses = world.agent(), []
    for _ in range(4):
        pauses.append(agent.work().seconds)
        agent.work()
        world.clock.sleep(pauses[-1])
    assert (pauses, len(world.builder.jobs), world.told) == ([2, 4, 8, 16], 4, "error")
    world.builder.outcome = Outcome.DONE
    agent.work()
    world.builder.outcome = Outcome.FAILED
    world.wants(parameters={"a": 1})
    assert agent.work() == Requeue(2.0)


def test_without_its_release_an_instance_waits_and_says_so(world: World) -> None:
    (world.config.software(URL) / MARKER).unlink()
    wants(world.store, a_supply())
    world.wants()
    assert world.agent().work() == Requeue(86400.0)
    assert (world.told, "built" in world.record.report.message) == ("instantiating", True)


def test_a_release_that_nobody_supplied_is_not_said_to_be_built(world: World) -> None:
    (world.config.software(URL) / MARKER).unlink()
    world.wants()
    assert world.agent().work() == Requeue(86400.0)
    assert (world.told, "not supplied" in world.record.report.message) == ("error", True)


def test_a_partition_that_does_not_exist_is_told_with_what_to_do(world: World) -> None:
    world.wants(partition="slappart9")
    agent = world.agent()
    agent.reconciler.once("slappart9")
    agent.reporter.flush()
    assert (world.told, "format" in world.ear.reports[-1].instances[0].message) == ("error", True)


def test_a_type_that_is_no_file_name_is_refused(world: World) -> None:
    world.wants(software_type="a b")
    world.agent().work()
    assert (world.told, "'instance" in world.record.report.message or "a b" in world.record.report.message) == (
        "error",
        True,
    )


def test_a_supervisord_that_is_away_is_not_held_against_the_instance(world: World) -> None:
    desired = world.wants()
    agent = world.agent()
    assert agent.steps.fail(desired, Unreachable("away")) == Requeue(0.2, content=False)
    assert world.ear.reports == []


def test_with_a_full_disk_the_requester_is_told_and_again_when_there_is_room(world: World) -> None:
    world.wants()
    agent = world.agent()
    agent.work()
    pages = agent.store._connection.execute("pragma page_count").fetchone()[0]
    agent.store._connection.execute(f"pragma max_page_count = {pages}")
    world.wants(parameters={"a": "x" * 200_000})
    agent.work()
    assert (world.told, "full" in world.ear.reports[-1].instances[0].message) == ("error", True)
    agent.store._connection.execute("pragma max_page_count = 1000000")
    agent.work()
    assert world.told == "started"


def test_what_was_only_said_is_corrected_even_where_the_record_says_that_all_was_told(world: World) -> None:
    desired = world.wants()
    agent = world.agent()
    agent.work()
    agent.steps._say(desired, CommandFailed("full"))
    agent.reporter.flush()
    assert world.told == "error"
    agent.work()
    assert world.told == "started"


def test_failing_to_clear_another_ones_things_is_told_to_the_next_one(world: World) -> None:
    world.store.save_instance(a_record(guid="INST-0", report=a_report(guid="INST-0")))
    desired = world.wants()
    agent = world.agent()
    agent.steps.fail(desired, OSError(1, "Operation not permitted", "/some/file"))
    agent.reporter.flush()
    report = world.ear.reports[-1].instances[0]
    assert (report.guid, report.state, "/some/file" in report.message) == ("INST-1", "error", True)
    assert world.record.guid == "INST-0"  # still to be cleared


def test_supervisord_is_told_again_what_it_may_not_have_heard(world: World) -> None:
    """Killed between writing the file of a group and having supervisord read it."""
    world.wants(parameters={"a": 1})
    world.agent().work()
    old = world.supervisord.taken[PART]
    world.wants(parameters={"a": 2})
    update, world.supervisord.update = world.supervisord.update, _unheard  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        world.agent().work()
    world.supervisord.update = update  # type: ignore[method-assign]
    assert world.supervisord.taken[PART] == old
    world.agent().work()
    assert digest_of("{'a': 2}") in world.supervisord.taken[PART]


def digest_of(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:16]


def _unheard(group: str) -> None:
    raise KeyboardInterrupt


def _start(world: World) -> None:
    world.wants(parameters={"a": 1})


def _change(world: World) -> None:
    _start(world)
    world.agent().work()
    world.wants(parameters={"a": 2})


def _stop(world: World) -> None:
    _start(world)
    world.agent().work()
    world.wants(parameters={"a": 1}, state=STOPPED)


def _destroy(world: World) -> None:
    _start(world)
    world.agent().work()
    world.wants(parameters={"a": 1}, state=DESTROYED)


def _replace(world: World) -> None:
    _start(world)
    world.agent().work()
    world.wants(state=DESTROYED)
    world.store.forget_instance("INST-1")
    world.wants(guid="INST-2", parameters={"a": 3})


@pytest.mark.parametrize("prepare", [_start, _change, _stop, _destroy, _replace])
def test_killed_at_any_line_the_next_agent_ends_where_this_one_would_have(
    tmp_path: Path, prepare: Callable[[World], None]
) -> None:
    undisturbed = World(tmp_path / "0")
    prepare(undisturbed)
    undisturbed.agent().work()
    line = 1
    while True:
        world = World(tmp_path / str(line))
        prepare(world)
        agent = world.agent()
        was_killed = killed_at(line, agent.work)
        agent.store.close()  # as the kernel does
        world.clock.sleep(10)
        world.agent().work()
        assert _end(world) == _end(undisturbed), f"killed at line {line}"
        if not was_killed:
            break
        line += 23


def _end(world: World) -> tuple[object, ...]:
    record = world.store.instance_record(PART)
    own = {str(world.config.root): "ROOT"}
    taken = {group: text.replace(*next(iter(own.items()))) for group, text in world.supervisord.taken.items()}
    left = sorted(path.name for path in world.config.partition(PART).iterdir())
    known = record and (record.guid, record.report.state, record.connection, record.failures, record.told)
    return world.told, known, taken, left, world.store.instance_in(PART) is None
