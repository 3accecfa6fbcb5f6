"""Preparing a computer: only what is missing is made, and what cannot be made is said."""

import os
from pathlib import Path
from typing import Any

import pytest

from slap.model.errors import InvalidInput, NotFound
from slap.node.core.config import FormatConfig, NodeConfig, default_root
from slap.node.core.formatted import read_format
from slap.node.format.plan import (
    AddAddress,
    MakePartition,
    MakeUser,
    Observed,
    check_rights,
    execute,
    finish,
    observe,
    partitions_of,
    plan,
)  # fmt: skip
from slap.node.partition.folder import Partitions
from slap.system import environment
from slap.system.network.netlink import FakeNetwork
from slap.system.process import FakeRunner

BOTH = frozenset({"slappart0", "slappart1"})
NOTHING = Observed(frozenset(), frozenset(), frozenset())


def node(folder: Path, **changes: Any) -> NodeConfig:
    return NodeConfig(**default_root(folder), format=FormatConfig(**({"partition_amount": 2} | changes)))


def planned(config: NodeConfig, observed: Observed = NOTHING) -> list[str]:
    return [str(action).split(" (")[0] for action in plan(config, partitions_of(config.format), observed)]


@pytest.mark.parametrize(
    ("changes", "observed", "expected"),
    [
        ({}, NOTHING, ["make partition slappart0", "make partition slappart1"]),
        ({}, Observed(frozenset(), frozenset(), frozenset({"slappart0"})), ["make partition slappart1"]),
        ({}, Observed(frozenset(), frozenset(), frozenset({"slappart0", "slappart1", "slappart7"})), []),
        ({"partition_amount": 0}, NOTHING, []),
        ({"partition_amount": 1, "alter_user": True}, NOTHING,
         ["make user slapsoft", "make user slapuser0", "make partition slappart0"]),
        ({"partition_amount": 1, "alter_user": True},
         Observed(frozenset({"slapsoft", "slapuser0"}), frozenset(), frozenset()), ["make partition slappart0"]),
        ({"partition_amount": 1, "alter_network": True, "ipv4_local_network": "10.7.0.0/24", "ipv6_prefix": "2001:DB8::/64"},
         NOTHING, ["add address 10.7.0.2/32 to lo", "add address 2001:db8::2/128 to lo", "make partition slappart0"]),
        ({"partition_amount": 1, "alter_network": True, "ipv4_local_network": "10.7.0.0/24"},
         Observed(frozenset(), frozenset({"10.7.0.2/32"}), frozenset({"slappart0"})), []),
        ({"partition_amount": 1, "alter_network": True}, NOTHING, ["make partition slappart0"]),  # loopback is there
        ({"partition_amount": 2, "alter_user": True},
         Observed(frozenset({"slapsoft", "slapuser0"}), frozenset(), BOTH, members=frozenset({"slapuser0", "libvirt"})),
         ["make user slapuser1", "add slapuser1 to group kvm"]),
        ({"partition_amount": 1}, Observed(frozenset(), frozenset(), BOTH, members=frozenset()), []),
    ],
)  # fmt: skip
def test_only_what_is_missing_is_planned(
    tmp_path: Path, changes: dict[str, Any], observed: Observed, expected: list[str]
) -> None:
    assert planned(node(tmp_path, **changes), observed) == expected


@pytest.mark.parametrize("network", ["10.0.0.0/30", "nonsense", "10.0.0.1/24"])
def test_a_network_that_has_no_room_is_named(tmp_path: Path, network: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        partitions_of(FormatConfig(partition_amount=10, ipv4_local_network=network))
    assert network in str(caught.value)


def test_each_partition_has_addresses_of_its_own() -> None:
    found = partitions_of(FormatConfig(partition_amount=600, ipv6_prefix="2001:db8::/64"))
    assert len({each.ipv4 for each in found}) == len({each.ipv6 for each in found}) == 600


def test_carried_out_it_is_not_planned_again(tmp_path: Path) -> None:
    config = node(tmp_path, alter_network=True, ipv4_local_network="10.7.0.0/24")
    network, runner = FakeNetwork(), FakeRunner()
    config.make_folders()
    execute(config, plan(config, partitions_of(config.format), observe(config, network)), runner, network)
    finish(config, partitions_of(config.format))
    assert plan(config, partitions_of(config.format), observe(config, network)) == ()
    assert network.known == {"lo": {"10.7.0.2/32", "10.7.0.3/32"}}
    assert (config.partition("slappart1").stat().st_mode & 0o777, runner.commands) == (0o700, [])
    assert [each.name for each in read_format(config).partitions] == ["slappart0", "slappart1"]


def test_users_are_made_without_a_way_in(tmp_path: Path) -> None:
    runner = FakeRunner()
    execute(node(tmp_path), [MakeUser("slapuser0", tmp_path)], runner, FakeNetwork())
    (command,) = runner.commands
    assert {"--user-group", "--no-create-home", "/usr/sbin/nologin", str(tmp_path)} < set(command.argv)
    assert (command.argv[0], command.argv[-1]) == ("useradd", "slapuser0")


@pytest.mark.parametrize("changes", [{"alter_user": True}, {"alter_network": True}])
def test_users_and_addresses_are_for_root(tmp_path: Path, changes: dict[str, Any]) -> None:
    """Asked by whoever is not root it is refused, and by root it is not."""
    config = node(tmp_path, **changes)
    if environment.is_root():
        check_rights(config)
    else:
        with pytest.raises(InvalidInput, match="root"):
            check_rights(config)
    check_rights(node(tmp_path))


def test_an_action_says_what_it_does(tmp_path: Path) -> None:
    (partition,) = partitions_of(FormatConfig(partition_amount=1))
    assert str(MakePartition(partition)) == "make partition slappart0 (127.77.0.2)"
    assert str(AddAddress("lo", "10.0.0.1/32")) == "add address 10.0.0.1/32 to lo"


def test_partitions_are_known_anew_after_another_format(tmp_path: Path) -> None:
    config = node(tmp_path)
    config.make_folders()
    partitions = Partitions(config)
    with pytest.raises(NotFound, match="not formatted"):
        partitions.get("slappart0")
    finish(config, partitions_of(FormatConfig(partition_amount=1)))
    assert partitions.names() == ["slappart0"]
    finish(config, partitions_of(FormatConfig(partition_amount=3)))
    os.utime(config.root / "etc/partitions.json", (1, 1))
    assert partitions.get("slappart2").path == config.partition("slappart2")
    with pytest.raises(NotFound, match="no partition slappart3"):
        partitions.get("slappart3")


def test_a_partition_without_its_user_does_not_take_the_others_with_it(tmp_path: Path) -> None:
    """All other partitions belong to users that exist; here, root plays them."""
    config = node(tmp_path, alter_user=True, user_base_name="root", software_user="root")
    config.make_folders()
    plain = partitions_of(config.format)
    files_of = [plain[0].model_copy(update={"name": "slappart"}), plain[1]]
    finish(config, tuple(files_of))
    partitions = Partitions(config)
    assert partitions.names() == ["slappart", "slappart1"]
    assert partitions.get("slappart").account.user == 0
    with pytest.raises(NotFound, match="no Unix user root1"):
        partitions.get("slappart1")
