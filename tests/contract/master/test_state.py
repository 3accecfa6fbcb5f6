"""The desired state: whole, or what changed, as soon as it changes."""

import asyncio
import time
from threading import Thread

import pytest

from slap.master.access.auth import Caller, CallerKind
from slap.master.app import open_store
from slap.master.service.logs import logs
from slap.model.errors import InvalidInput, Unreachable
from slap.model.instance import Sla
from slap.model.node import DesiredState, InstanceReport, LogAnswer, NodeReport, SupplyReport
from slap.model.promise import PromiseResult
from slap.model.resources.limits import NO_LIMITS, Limits
from slap.model.state import InstanceState, ReportedInstanceState, ReportedSupplyState, Status
from slap.system.clock import SystemClock
from tests.contract.master.world import World, order

pytestmark = pytest.mark.sql

STARTED, DESTROYED = ReportedInstanceState.STARTED, ReportedInstanceState.DESTROYED


def test_only_what_changed_is_sent(world: World) -> None:
    node = world.computer()
    url = world.supplied(node)
    first, second = (world.admin.request(order(url, name)) for name in ("first", "second"))
    whole = node.api.desired_state(node.guid)
    assert ([each.guid for each in whole.instances], len(whole.supplies)) == ([first.guid, second.guid], 1)
    assert node.api.desired_state(node.guid, since=whole.revision).instances == ()
    world.admin.request(order(url, "second", parameters={"a": 1}))
    changed = node.api.desired_state(node.guid, since=whole.revision)
    assert [(each.guid, each.parameters) for each in changed.instances] == [(second.guid, {"a": 1})]
    assert (changed.supplies, changed.since) == ((), whole.revision)


def test_limits_that_are_requested_reach_the_node_and_a_change_of_them_is_sent(world: World) -> None:
    node = world.computer()
    url = world.supplied(node)
    world.admin.request(order(url))
    whole = node.api.desired_state(node.guid)
    limits = Limits(memory=1 << 30, cpu_weight=50)
    asked = world.admin.request(order(url, sla=Sla(limits=limits)))
    (changed,) = node.api.desired_state(node.guid, since=whole.revision).instances
    assert (whole.instances[0].limits, changed.limits, asked.sla.limits) == (NO_LIMITS, limits, limits)


def test_a_destroyed_instance_is_sent_until_its_node_removed_it(world: World) -> None:
    node = world.computer()
    instance = world.admin.request(order(world.supplied(node)))
    world.admin.request(order("", state=InstanceState.DESTROYED))
    assert node.api.desired_state(node.guid).instances[0].state is InstanceState.DESTROYED
    node.report(InstanceReport(guid=instance.guid, state=DESTROYED))
    assert node.api.desired_state(node.guid).instances == ()
    assert world.admin.computer(node.guid).free_partitions == 3


def test_a_revision_of_the_future_is_answered_with_everything(world: World) -> None:
    node = world.computer()
    world.admin.request(order(world.supplied(node)))
    state = node.api.desired_state(node.guid, since=1000, wait=20)
    assert (state.since, len(state.instances)) == (0, 1)


def test_a_waiting_node_is_told_at_once_and_no_sooner(world: World) -> None:
    node = world.computer()
    url = world.supplied(node)
    known = node.api.desired_state(node.guid).revision
    assert node.api.desired_state(node.guid, since=known, wait=0.05).revision == known
    told: list[tuple[float, DesiredState]] = []

    def follow() -> None:
        state = node.api.desired_state(node.guid, since=known, wait=30)
        told.append((time.monotonic(), state))

    follower = Thread(target=follow)
    follower.start()
    time.sleep(0.2)  # so that it waits; were it not waiting yet, it would be answered as well
    assert not told
    instance = world.admin.request(order(url))
    ordered = time.monotonic()
    follower.join(20)
    assert [each.guid for each in told[0][1].instances] == [instance.guid]
    assert told[0][0] - ordered < 2
    with pytest.raises(InvalidInput, match="wait"):
        node.api.desired_state(node.guid, wait=61)


def test_reports_are_stored_once_and_seen_by_the_requester(world: World) -> None:
    node = world.computer()
    url = world.supplied(node)
    instance = world.admin.request(order(url))
    passed = PromiseResult(name="port", passed=True, message="open", at=SystemClock().now())
    report = InstanceReport(guid=instance.guid, state=STARTED, promises=(passed,), connection={"url": "http://x"})
    node.report(report, supplies=(SupplyReport(url=url, state=ReportedSupplyState.AVAILABLE),))
    seen = world.admin.instance(instance.guid)
    assert (seen.status, seen.connection, seen.software) == ("started", {"url": "http://x"}, "available")
    assert seen.promises == (passed,)
    later = passed.model_copy(update={"at": SystemClock().now()})
    node.report(report.model_copy(update={"promises": (later,), "connection": None}))
    assert world.admin.instance(instance.guid) == seen
    failed = InstanceReport(guid=instance.guid, state=ReportedInstanceState.ERROR, message="no")
    node.report(failed)
    assert (world.admin.instance(instance.guid).message, world.admin.instance(instance.guid).connection) == (
        "no",
        {"url": "http://x"},
    )


def test_reports_of_what_is_gone_or_elsewhere_are_ignored(world: World) -> None:
    node, other = world.computer("one"), world.computer("two")
    url = world.supplied(node)
    instance = world.admin.request(order(url))
    node.report(InstanceReport(guid=instance.guid, state=DESTROYED))  # nobody asked for that
    other.report(InstanceReport(guid=instance.guid, state=STARTED), InstanceReport(guid="nobody", state=STARTED))
    assert world.admin.instance(instance.guid).status == "waiting"
    world.admin.request(order("", state=InstanceState.DESTROYED))
    for state in (DESTROYED, DESTROYED, STARTED):
        node.report(InstanceReport(guid=instance.guid, state=state))
    assert world.admin.instance(instance.guid).status == "destroyed"
    assert world.admin.computer(node.guid).free_partitions == 3


def test_a_report_of_a_build_wakes_who_waits_for_its_instances(world: World) -> None:
    node = world.computer()
    url = world.supplied(node)
    instance = world.admin.request(order(url))
    node.report(supplies=(SupplyReport(url=url, state=ReportedSupplyState.ERROR, message="gcc failed"),))
    tree = world.admin.tree(instance.guid, since=instance.revision, wait=20)
    assert (tree.root.software, tree.root.software_message) == ("error", "gcc failed")


def test_logs_are_brought_by_the_node(world: World) -> None:
    node = world.computer()
    instance = world.admin.request(order(world.supplied(node)))
    known = node.api.desired_state(node.guid).revision
    texts: list[str] = []
    reader = Thread(target=lambda: texts.append(world.user("admin").logs(instance.guid, lines=7)))
    reader.start()
    state = node.api.desired_state(node.guid, since=known, wait=20)
    (asked,) = state.logs
    assert (asked.instance, asked.partition, asked.lines) == (instance.guid, instance.partition, 7)
    node.api.report(node.guid, NodeReport(logs=(LogAnswer(id=asked.id, text="all is well"),)))
    reader.join(20)
    assert texts == ["all is well"]
    assert node.api.desired_state(node.guid).logs == ()


def test_a_node_that_brings_no_logs_is_named(world: World) -> None:
    instance = world.admin.request(order(world.supplied(world.computer("paris"))))

    async def ask() -> str:
        store = open_store(world.database)
        try:
            return await logs(store, Caller(CallerKind.USER, "admin", "admin"), instance.guid, 10, within=0.1)
        finally:
            await store.close()

    with pytest.raises(Unreachable, match="The node of paris"):
        asyncio.run(ask())


def test_whatever_a_program_prints_can_be_reported(world: World) -> None:
    node = world.computer()
    instance = world.admin.request(order(world.supplied(node)))
    node.report(InstanceReport(guid=instance.guid, state=ReportedInstanceState.ERROR, message="a\x00b"))
    assert world.admin.instance(instance.guid).message == "a\ufffdb"


def test_a_report_about_former_wishes_is_no_answer_to_the_latest(world: World) -> None:
    node = world.computer()
    url = world.supplied(node)
    instance = world.admin.request(order(url))
    former = node.api.desired_state(node.guid).instances[0].revision
    started = InstanceReport(guid=instance.guid, state=ReportedInstanceState.STARTED)
    node.report(started)
    world.admin.request(order(url, parameters={"greeting": "Salut"}))
    assert world.admin.instance(instance.guid).status is Status.STARTING
    node.report(started.model_copy(update={"revision": former}))
    assert world.admin.instance(instance.guid).status is Status.STARTING
    node.report(started)
    assert world.admin.instance(instance.guid).status is Status.STARTED
