"""Taps, bridges, and undoing what format made."""

import grp
import os
from pathlib import Path
from typing import Any

import pytest

from slap.model.errors import Conflict, InvalidInput
from slap.model.node import DesiredState
from slap.model.state import InstanceState
from slap.node.core.config import FormatConfig, NodeConfig
from slap.node.core.store import Store
from slap.node.format.groups import may_use_kvm, members_of, missing_members
from slap.node.format.interfaces import Interfaces
from slap.node.format.journal import Journal, Kind, Made
from slap.node.format.plan import AddAddress, Observed, execute, finish, observe, partitions_of, plan
from slap.node.format.undo import UndoContext, check_undo, execute_undo, undo_plan
from slap.system import environment
from slap.system.network.netlink import FakeNetwork, Link
from slap.system.process import FakeRunner
from tests.unit.node.format.test_plan import node
from tests.unit.node.things import an_instance

ME = os.getuid()
TAPS: dict[str, Any] = {"partition_amount": 2, "create_tap": True}
BRIDGED = TAPS | {"bridge_name": "br7"}


def planned(config: NodeConfig, links: dict[str, Link], users: dict[str, int] | None = None) -> list[str]:
    found = Interfaces(links, users or {})
    seen = Observed(frozenset(users or ()), frozenset(), frozenset({"slappart0", "slappart1"}), found)
    return [str(action) for action in plan(config, partitions_of(config.format), seen)]


def tap(**fields: Any) -> Link:
    known: dict[str, Any] = {"kind": "tap", "owner": ME, "is_up": True}
    return Link(**(known | fields))


BRIDGE = Link("bridge", is_up=True)


@pytest.mark.parametrize(
    ("changes", "links", "expected"),
    [
        (TAPS | {"create_tap": False}, {}, []),
        (TAPS, {}, ["make tap slaptap0", "make tap slaptap1"]),
        (TAPS, {"slaptap0": tap()}, ["make tap slaptap1"]),
        (TAPS, {"slaptap0": tap(is_up=False), "slaptap1": tap()}, ["make tap slaptap0"]),
        (TAPS, {"slaptap0": tap(owner=ME + 1), "slaptap1": tap()}, ["make tap slaptap0 anew"]),
        (BRIDGED, {}, ["make bridge br7", "make tap slaptap0 at br7", "make tap slaptap1 at br7"]),
        (BRIDGED, {"br7": BRIDGE, "slaptap0": tap(), "slaptap1": tap(bridge="br7")}, ["make tap slaptap0 at br7"]),
        (TAPS | {"interface_name": "br0", "tap_base_name": "vm"}, {"br0": BRIDGE, "vm1": tap(bridge="br0")},
         ["make tap vm0 at br0"]),
        (TAPS | {"interface_name": "eth0"}, {"eth0": Link(), "slaptap0": tap(), "slaptap1": tap()}, []),
    ],
)  # fmt: skip
def test_interfaces_that_are_missing_are_planned(
    tmp_path: Path, changes: dict[str, Any], links: dict[str, Link], expected: list[str]
) -> None:
    assert planned(node(tmp_path, **changes), links) == expected


def test_a_tap_is_its_partitions_users(tmp_path: Path) -> None:
    config = node(tmp_path, **TAPS, alter_user=True)
    links = {"slaptap0": tap(owner=7), "slaptap1": tap(owner=7)}
    users = {"slapsoft": 5, "slapuser0": 7, "slapuser1": 8}
    assert planned(config, links, users) == ["make tap slaptap1 of slapuser1 anew"]


@pytest.mark.parametrize("links", [{"slaptap1": BRIDGE}, {"br7": Link()}, {"br7": Link("veth")}])
def test_an_interface_of_another_kind_is_left_alone(tmp_path: Path, links: dict[str, Link]) -> None:
    with pytest.raises(InvalidInput, match="Choose another"):
        planned(node(tmp_path, **BRIDGED), links)


def formatted(folder: Path, network: FakeNetwork, **changes: Any) -> tuple[NodeConfig, UndoContext]:
    options = BRIDGED | {"alter_network": True, "ipv4_local_network": "10.7.0.0/24", "interface_name": "eth0"}
    config = node(folder, **(options | changes))
    config.make_folders()
    partitions, runner = partitions_of(config.format), FakeRunner()
    execute(config, plan(config, partitions, observe(config, network)), runner, network)
    finish(config, partitions)
    return config, UndoContext(config, runner, network, "slapos-test")


def a_network() -> FakeNetwork:
    return FakeNetwork({"eth0": {"192.0.2.1/24"}}, {"eth0": Link(), "lo": Link()})


def test_what_was_made_goes_and_what_was_there_stays(tmp_path: Path) -> None:
    network = a_network()
    config, means = formatted(tmp_path, network)
    assert plan(config, partitions_of(config.format), observe(config, network)) == ()
    assert set(network.links()) == {"eth0", "lo", "br7", "slaptap0", "slaptap1"}
    going = undo_plan(config, network)
    assert [str(each) for each in going] == [
        "partition slappart0", "partition slappart1", "tap slaptap0", "tap slaptap1", "bridge br7",
        "address 10.7.0.2/32 from eth0", "address 10.7.0.3/32 from eth0",
    ]  # fmt: skip
    execute_undo(going, means)
    assert (network.known["eth0"], set(network.links())) == ({"192.0.2.1/24"}, {"eth0", "lo"})
    assert not list(config.instance_root.iterdir())
    assert not (config.root / "etc/partitions.json").exists()
    assert undo_plan(config, network) == ()


def test_what_format_found_is_not_its_to_take(tmp_path: Path) -> None:
    network = a_network()
    network.add("eth0", "10.7.0.2/32")
    network.add_bridge("br7")
    network.add_tap("slaptap0", ME, "br7")
    config = node(tmp_path)
    config.make_folders()
    config.partition("slappart0").mkdir()
    config, means = formatted(tmp_path, network)
    execute_undo(undo_plan(config, network), means)
    assert "10.7.0.2/32" in network.known["eth0"] and config.partition("slappart0").exists()
    assert set(network.links()) == {"eth0", "lo", "br7", "slaptap0"}


def test_an_undo_that_was_cut_off_goes_on(tmp_path: Path) -> None:
    network = a_network()
    config, means = formatted(tmp_path, network)
    execute_undo(undo_plan(config, network)[:3], means)
    assert [each.kind for each in undo_plan(config, network)] == [Kind.TAP, Kind.BRIDGE, Kind.ADDRESS, Kind.ADDRESS]
    network.delete_link("slaptap1")  # by somebody else
    execute_undo(undo_plan(config, network), means)
    assert set(network.links()) == {"eth0", "lo"}


def test_partitions_that_hold_something_are_refused_by_name(tmp_path: Path) -> None:
    network = a_network()
    config, _ = formatted(tmp_path, network)
    (config.partition("slappart1") / "data").touch()
    store = Store(config.store_file)
    store.apply(DesiredState(computer="C", revision=1, since=0, instances=(an_instance(partition="slappart0"),)))
    with pytest.raises(Conflict, match=r"(?s)slappart0 holds the instance .*slappart1 is not empty"):
        check_undo(config, undo_plan(config, network), network)
    gone = an_instance(partition="slappart0", state=InstanceState.DESTROYED)
    store.apply(DesiredState(computer="C", revision=2, since=0, instances=(gone,)))
    (config.partition("slappart1") / "data").unlink()
    if environment.is_root():
        check_undo(config, undo_plan(config, network), network)


def test_a_bridge_that_somebody_else_uses_is_refused(tmp_path: Path) -> None:
    network = a_network()
    config, _ = formatted(tmp_path, network)
    network.interfaces["eth0"] = Link(bridge="br7")
    with pytest.raises(Conflict, match="br7 has other ports: eth0"):
        check_undo(config, undo_plan(config, network), network)


def test_what_is_noted_is_noted_once_and_before_it_is_made(tmp_path: Path) -> None:
    config = node(tmp_path)
    ledger, entry = Journal(config), Made(kind=Kind.ADDRESS, name="10.0.0.1/32", interface="lo")
    ledger.note([entry])
    ledger.note([entry])
    assert ledger.made() == (entry,)

    class Broken(FakeNetwork):
        def add(self, interface: str, address: str) -> None:
            raise OSError("the power went away")

    with pytest.raises(OSError, match="power"):
        execute(config, [AddAddress("lo", "10.0.0.9/32")], FakeRunner(), Broken())
    assert [each.name for each in ledger.made()] == ["10.0.0.1/32", "10.0.0.9/32"]
    (tmp_path / "etc/formatted.json").write_text("nonsense")
    with pytest.raises(InvalidInput, match="cannot be understood"):
        ledger.made()


def test_partitions_say_their_taps() -> None:
    assert [each.tap for each in partitions_of(FormatConfig(**TAPS))] == ["slaptap0", "slaptap1"]


def test_users_of_partitions_become_members_of_the_group_of_kvm_and_leave_it(tmp_path: Path) -> None:
    """By the computer's own group of some name: who is a member of it is asked of the computer."""
    runner, network = FakeRunner(), FakeNetwork()
    config = node(tmp_path, alter_user=True, user_base_name="root", software_user="root", kvm_group="root")
    config.make_folders()
    (missing,) = list(missing_members(config.format, partitions_of(config.format)[:1], frozenset()))
    execute(config, [missing], runner, network)
    assert runner.commands[0].argv == ("usermod", "--append", "--groups", "root", "root0")
    assert Journal(config).made() == (Made(kind=Kind.MEMBER, name="root0", interface="root"),)
    assert undo_plan(config, network) == ()  # it is no member, for nothing was run
    execute_undo(Journal(config).made(), UndoContext(config, runner, network, "slapos-test"))
    assert ("gpasswd", "--delete", "root0", "root") in [each.argv for each in runner.commands]
    assert Journal(config).made() == ()


@pytest.mark.parametrize(
    ("mode", "group", "may"),
    [(0o666, "", True), (0o660, "own", True), (0o660, "another", False), (0o600, "own", False), (0o640, "own", False)],
)
def test_partitions_may_use_kvm_where_their_users_may(tmp_path: Path, mode: int, group: str, may: bool) -> None:
    device = tmp_path / "kvm"
    device.touch()
    device.chmod(mode)
    own = grp.getgrgid(device.stat().st_gid).gr_name
    form = FormatConfig(alter_user=True, kvm_group=own if group == "own" else group)
    assert may_use_kvm(form, device) == may
    assert may_use_kvm(FormatConfig(), device)
    assert not may_use_kvm(form, tmp_path / "none") and members_of("no-such-group") is None
