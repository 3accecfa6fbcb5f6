"""A node of ours at a slapproxy: what it is to be, and what it tells; with answers of the real one."""

from typing import Any

import pytest

from slap.client.slapos.documents import parse_computer
from slap.client.slapos.state_diff import FIRST_REVISION
from slap.model.computer import ComputerConfiguration, ComputerRegistration, Partition
from slap.model.errors import InvalidInput, Unreachable
from slap.model.node import DesiredState, InstanceReport, NodeReport, SupplyReport
from slap.model.state import InstanceState, ReportedInstanceState, ReportedSupplyState
from slap.system.marshal import SlapObject, dumps
from tests.unit.client.proxy import BUSY, RECORDED, Proxy

FULL = "GET getFullComputerInformation"
TOLD = {
    f"POST {path}": "published"
    for path in (
        "setComputerPartitionConnectionXml", "startedComputerPartition", "stoppedComputerPartition",
        "destroyedComputerPartition", "softwareInstanceError", "availableSoftwareRelease", "softwareReleaseError",
        "destroyedSoftwareRelease", "loadComputerConfigurationFromXML",
    )
}  # fmt: skip


def a_report(state: str = "started", **more: Any) -> NodeReport:
    one = InstanceReport(**({"guid": "COMP-1-slappart0", "state": ReportedInstanceState(state)} | more))
    return NodeReport(instances=(one,))


def test_the_whole_state_has_what_was_ordered_unwrapped() -> None:
    state = Proxy(BUSY).master().desired_state("COMP-1")
    web, db, child, off = state.instances
    assert (web.reference, web.root_reference, web.parameters) == (
        "web",
        "web",
        {"greeting": "Salut <b>", "port": "80"},
    )
    assert (db.parameters, db.bang > 0, db.token) == ({"size": 3}, True, "")
    assert (child.reference, child.root_reference, off.state) == ("child", "web", InstanceState.STOPPED)
    (pooled,) = db.shared
    assert (pooled.guid, pooled.parameters, pooled.state) == ("_pooled", {"x": "1"}, InstanceState.STARTED)
    assert {each.url: each.state.value for each in state.supplies} == {
        "/r/software.cfg": "available",
        "/old/software.cfg": "destroyed",
    }
    assert state.complete == ("slappart0", "slappart1", "slappart2", "slappart3")


def test_the_same_answer_has_the_same_revision_whoever_asks() -> None:
    first, second = (Proxy(BUSY).master().desired_state("COMP-1") for _ in range(2))
    assert first.revision == second.revision >= FIRST_REVISION
    assert Proxy(BUSY).master().desired_state("COMP-1", first.revision).instances == ()


def test_a_change_is_noticed_while_waiting_and_only_it_is_told() -> None:
    proxy = Proxy({FULL: ["busy computer", "busy computer", "busy computer", "computer with a root to go"]})
    master = proxy.master()
    known = master.desired_state("COMP-1").revision
    began = proxy.clock.monotonic()
    news = master.desired_state("COMP-1", known, wait=50)
    assert proxy.clock.monotonic() - began < 10
    assert (news.since, [each.reference for each in news.instances]) == (known, ["web"])
    assert (news.complete, news.supplies) == (("slappart2",), ())


def test_without_a_change_the_wait_ends_in_time() -> None:
    proxy = Proxy(BUSY)
    master = proxy.master()
    known, began = master.desired_state("COMP-1").revision, proxy.clock.monotonic()
    assert master.desired_state("COMP-1", known, wait=50).revision == known
    assert proxy.clock.monotonic() - began == 50


def test_an_agent_that_begins_anew_is_told_everything_as_a_change() -> None:
    """What it has beyond that it can only know by itself."""
    state = Proxy(BUSY).master().desired_state("COMP-1", FIRST_REVISION + 1)
    assert (state.since, len(state.instances), len(state.complete)) == (FIRST_REVISION + 1, 4, 4)


def test_a_node_that_comes_from_a_master_of_ours_is_told_everything_anew() -> None:
    assert Proxy(BUSY).master().desired_state("COMP-1", 77).since == 0


def test_what_is_to_be_destroyed_is_told_again_with_each_change() -> None:
    """A root is freed only after its children: slapproxy refused the first word that it was destroyed."""
    proxy = Proxy({FULL: ["computer with a root to go", "busy computer", "computer with a root to go"]})
    master = proxy.master()
    first = master.desired_state("COMP-1")
    second = master.desired_state("COMP-1", first.revision)
    third = master.desired_state("COMP-1", second.revision)
    assert [each.state.value for each in third.instances if each.reference == "web"] == ["destroyed"]


@pytest.mark.parametrize(
    "answer",
    [
        b"", b"<html>It works!</html>", b"<marshal><none/></marshal>", dumps({}), dumps(SlapObject("Computer", {})),
        dumps(SlapObject("Computer", {"_computer_id": "C", "_computer_partition_list": None})),
        dumps(SlapObject("Computer", {"_computer_id": "C", "_computer_partition_list": [1], "_software_release_list": []})),
        RECORDED["requested web"][1].encode(), RECORDED["not ours"][1].encode(),
    ],
)  # fmt: skip
def test_an_answer_that_is_not_understood_says_nothing(answer: bytes) -> None:
    with pytest.raises(Unreachable):
        parse_computer(answer)


@pytest.mark.parametrize(
    "said",
    [
        {"_requested_state": "burning"}, {"_requested_state": None}, {"_software_release_document": 7},
        {"_requested_state": "started", "_software_release_document": None}, {"_instance_guid": None},
        {"_partition_id": "../etc"}, {"_software_release_document": SlapObject("SoftwareRelease", {})},
    ],
)  # fmt: skip
def test_a_partition_that_is_not_understood_stays_as_it_is(said: dict[str, Any]) -> None:
    release = SlapObject("SoftwareRelease", {"_software_release": "/r", "_computer_guid": "C"})
    known = {"_partition_id": "slappart0", "_requested_state": "destroyed", "_instance_guid": "G"}
    partition = SlapObject("ComputerPartition", {**known, "_software_release_document": release, **said})
    lists = {"_computer_partition_list": [partition], "_software_release_list": []}
    computer = parse_computer(dumps(SlapObject("Computer", {"_computer_id": "C", **lists})))
    assert (computer.partitions, len(computer.unread)) == ((), 1)


def test_an_unknown_computer_is_an_error_and_not_an_empty_one() -> None:
    with pytest.raises(Unreachable, match="500"):
        Proxy({FULL: "unknown computer"}).master().desired_state("COMP-9")


def test_a_report_becomes_calls_in_the_name_of_the_partition() -> None:
    proxy = Proxy({**BUSY, **TOLD})
    proxy.master().report("COMP-1", a_report(connection={"url": "http://x/"}))
    connection, started = proxy.sent
    assert (connection.path, connection.meant("connection_xml")) == (
        "setComputerPartitionConnectionXml", {"url": "http://x/"},
    )  # fmt: skip
    assert (started.path, started.form["computer_partition_id"]) == ("startedComputerPartition", "slappart0")
    assert started.headers["Authorization"] == "X-SlapPartition computer_id=COMP-1, computer_partition_id=slappart0"


def test_connections_go_back_in_the_form_in_which_the_order_came() -> None:
    proxy = Proxy({**BUSY, **TOLD})
    report = a_report(guid="COMP-1-slappart1", connection={"u": "1"}, shared={"_pooled": {"dsn": "pg://"}})
    proxy.master().report("COMP-1", report)
    own, shared = proxy.posted("setComputerPartitionConnectionXml")
    assert (own.meant("connection_xml"), "slave_reference" in own.form) == ({"_": '{"u": "1"}'}, False)
    assert (shared.meant("connection_xml"), shared.form["slave_reference"]) == ({"dsn": "pg://"}, "_pooled")


def test_the_same_report_again_tells_nothing() -> None:
    proxy = Proxy({**BUSY, **TOLD})
    master = proxy.master()
    for _ in range(3):
        master.report("COMP-1", a_report("error", message="It burns."))
    assert [each.form["error_log"] for each in proxy.sent] == ["It burns."]


def test_a_partition_is_freed_only_of_the_instance_that_is_to_go() -> None:
    """Freed is whatever is in it: a report that comes late must not free it of the next one."""
    for recorded, calls in (("busy computer", 0), ("computer with a root to go", 1), ("empty computer", 0)):
        proxy = Proxy({FULL: recorded, **TOLD})
        proxy.master().report("COMP-1", a_report("destroyed"))
        assert len(proxy.posted("destroyedComputerPartition")) == calls


def test_the_last_word_is_said_again_when_it_was_not_taken() -> None:
    proxy = Proxy(
        {FULL: "computer with a root to go", **TOLD, "POST destroyedComputerPartition": "destroyed too early"}
    )
    master = proxy.master()
    master.report("COMP-1", a_report("destroyed"))
    master.report("COMP-1", a_report("destroyed"))
    assert len(proxy.sent) == 2


def test_releases_are_told_of() -> None:
    proxy = Proxy(TOLD)
    for state in ("building", "available", "error", "destroyed"):
        report = SupplyReport(url="/r", state=ReportedSupplyState(state), message="No.", log="line")
        rules = {**TOLD, "POST buildingSoftwareRelease": "published"}
        proxy.rules = rules
        proxy.master().report("COMP-1", NodeReport(supplies=(report,)))
    assert [each.path for each in proxy.sent] == [
        "buildingSoftwareRelease", "availableSoftwareRelease", "softwareReleaseError", "destroyedSoftwareRelease",
    ]  # fmt: skip
    assert proxy.sent[2].form["error_log"] == "No.\nline"


def test_formatting_tells_partitions_with_their_addresses() -> None:
    proxy = Proxy({**BUSY, **TOLD})
    partition = Partition(name="slappart0", ipv4=("10.0.0.2",), ipv6=("fd00::2",), tap="tap0")
    computer = proxy.master().configure_computer("COMP-1", ComputerConfiguration(partitions=(partition,)))
    (told,) = proxy.sent
    (said,) = told.meant("xml")["partition_list"]  # type: ignore[index]
    assert [each["netmask"] for each in said["address_list"]] == ["255.255.255.255", ":".join(["ffff"] * 8)]
    assert (said["tap"], computer.free_partitions) == ({"name": "tap0"}, 0)


def test_registering_needs_nothing() -> None:
    registered = Proxy({}).master().register_computer(ComputerRegistration(title="local_computer"))
    assert (registered.guid, registered.token) == ("local_computer", "")


def test_a_report_that_a_master_refuses_is_told_from_one_that_it_cannot_take_now() -> None:
    class Refusing(Proxy):
        def send(self, method: str, *given: Any) -> Any:
            reply = super().send(method, *given)
            return type(reply)(400, b"<p>Bad &amp; ugly</p>") if method == "POST" else reply

    with pytest.raises(InvalidInput) as caught:
        Refusing({**BUSY, **TOLD}).master().report("COMP-1", a_report())
    assert "Bad & ugly" in caught.value.details


def test_states_that_differ_are_told_apart() -> None:
    states: list[DesiredState] = [
        Proxy({FULL: name}).master().desired_state("COMP-1")
        for name in ("busy computer", "computer with a root to go", "empty computer")
    ]
    assert len({state.revision for state in states}) == 3
