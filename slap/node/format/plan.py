"""Plan and make what is missing on a computer for its partitions."""

import ipaddress
import logging
import platform
import pwd
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from slap.model.computer import ComputerConfiguration, Partition
from slap.model.errors import InvalidInput
from slap.node.core.accounts import partition_account
from slap.node.core.config import FormatConfig, NodeConfig
from slap.node.core.formatted import FORMATTED, read_format
from slap.node.core.kvm_probe import is_proven, settle
from slap.node.format.groups import KVM_DEVICE, JoinGroup, may_use_kvm, members_of, missing_members
from slap.node.format.interfaces import Interfaces, MakeBridge, MakeTap, missing_links, tap_name
from slap.node.format.journal import Journal, Kind, Made
from slap.node.limits.enforcement import computer_limits
from slap.node.manager.firewall import is_wanted
from slap.node.partition.folder import PartitionFolder
from slap.system import environment, files
from slap.system.clock import Clock
from slap.system.network.netlink import Network
from slap.system.process import Command, Runner

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class MakeUser:
    """A Unix user that nobody can log in as, with a group of its own: members of one group could read each other."""

    name: str
    home: Path

    def __str__(self) -> str:
        return f"make user {self.name}"

    @property
    def made(self) -> Made:
        return Made(kind=Kind.USER, name=self.name)


@dataclass(frozen=True)
class AddAddress:
    interface: str
    address: str

    def __str__(self) -> str:
        return f"add address {self.address} to {self.interface}"

    @property
    def made(self) -> Made:
        return Made(kind=Kind.ADDRESS, name=self.address, interface=self.interface)


@dataclass(frozen=True)
class MakePartition:
    partition: Partition

    def __str__(self) -> str:
        addresses = ", ".join((*self.partition.ipv6, *self.partition.ipv4))
        return f"make partition {self.partition.name} ({addresses})"

    @property
    def made(self) -> Made:
        return Made(kind=Kind.PARTITION, name=self.partition.name)


Action = MakeUser | JoinGroup | AddAddress | MakeBridge | MakeTap | MakePartition


@dataclass(frozen=True)
class Observed:
    """What exists: users, addresses, partition folders, interfaces, members of /dev/kvm's group."""

    users: frozenset[str]
    addresses: frozenset[str]
    folders: frozenset[str]
    interfaces: Interfaces = field(default_factory=Interfaces)
    members: frozenset[str] | None = None


def partitions_of(config: FormatConfig) -> tuple[Partition, ...]:
    """The configured partitions with counted addresses. Raises InvalidInput for a bad network."""
    return tuple(counted_partition(config, number) for number in range(config.partition_amount))


def counted_partition(config: FormatConfig, number: int) -> Partition:
    """The partition of a number, with the addresses of that number in the networks."""
    return Partition(
        name=f"{config.partition_base_name}{number}",
        ipv4=(_address(config.ipv4_local_network, number),),
        ipv6=(_address(config.ipv6_prefix, number),) if config.ipv6_prefix else (),
        tap=tap_name(config, number),
    )


def plan(config: NodeConfig, partitions: Iterable[Partition], observed: Observed) -> tuple[Action, ...]:
    """The missing actions. Nothing is removed: a partition that is no longer configured may hold data."""
    wanted = tuple(partitions)
    return (
        *_users(config, wanted, observed),
        *missing_members(config.format, wanted, observed.members),
        *_addresses(config, wanted, observed),
        *missing_links(config.format, wanted, observed.interfaces),
        *(MakePartition(each) for each in wanted if each.name not in observed.folders),
    )


def observe(config: NodeConfig, network: Network) -> Observed:
    """Observe this computer."""
    addresses = network.addresses(config.format.interface_name) if config.format.alter_network else frozenset()
    folders = frozenset(path.name for path in config.instance_root.glob(f"{config.format.partition_base_name}*"))
    users = {entry.pw_name: entry.pw_uid for entry in pwd.getpwall()}
    links = network.links() if config.format.create_tap else {}
    return Observed(frozenset(users), addresses, folders, Interfaces(links, users), members_of(config.format.kvm_group))


def execute(config: NodeConfig, actions: Iterable[Action], runner: Runner, network: Network) -> None:
    """Execute a plan, noting each action first, for undo. What was interrupted is in the next plan again."""
    planned = tuple(actions)
    Journal(config).note(action.made for action in planned)
    for action in planned:
        log.info("%s", action)
        if isinstance(action, MakeUser):
            argv = ("useradd", "--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin", *_MANY)
            runner.run(
                Command((*argv, "--home-dir", str(action.home), action.name), env={"PATH": environment.CLEAN_PATH})
            ).check()
        elif isinstance(action, JoinGroup):
            action.do(runner)
        elif isinstance(action, AddAddress):
            network.add(action.interface, action.address)
        elif isinstance(action, MakeBridge | MakeTap):
            action.do(config, network)
        else:
            account = partition_account(config, action.partition.name)
            PartitionFolder(config, action.partition, account).make()


def restore_network(config: NodeConfig, runner: Runner, network: Network) -> None:
    """Make addresses and interfaces again, which a restart of the computer removes."""
    form = config.format
    if (form.alter_network or form.create_tap) and (config.root / FORMATTED).exists():
        actions = plan(config, read_format(config).partitions, observe(config, network))
        of_network = [each for each in actions if isinstance(each, AddAddress | MakeBridge | MakeTap)]
        execute(config, of_network, runner, network)


def try_machines(config: NodeConfig, runner: Runner, clock: Clock) -> None:
    """Probe KVM where partitions may use it."""
    if may_use_kvm(config.format):
        settle(runner, config.machines, clock)


def finish(config: NodeConfig, partitions: tuple[Partition, ...]) -> ComputerConfiguration:
    """Save and return the computer's configuration, as a node reports it to its master."""
    configuration = ComputerConfiguration(
        partitions=partitions,
        labels=config.labels,
        capabilities=capabilities(config),
        network=config.format.network,
        limits=computer_limits(config),
    )
    files.write(config.root / FORMATTED, configuration.model_dump_json(indent=1))
    return configuration


def capabilities(config: NodeConfig, device: Path = KVM_DEVICE) -> frozenset[str]:
    """Capabilities that requests can ask for: architecture, kvm, users, ipv6, firewall, tap."""
    found = {
        platform.machine(): True,
        "kvm": may_use_kvm(config.format, device) and is_proven(config.machines),
        "users": config.format.alter_user,
        "ipv6": bool(config.format.ipv6_prefix),
        "firewall": is_wanted(config),
        "tap": config.format.create_tap,
    }
    return frozenset(name for name, has in found.items() if has)


def check_rights(config: NodeConfig) -> None:
    """Raise InvalidInput when root is needed and this process is not root."""
    form = config.format
    said = [name for name in ("alter_user", "alter_network", "create_tap") if getattr(form, name)]
    if said and not environment.is_root():
        raise InvalidInput(
            "Users, addresses and interfaces can only be made by root.",
            f"slapos.cfg says {' and '.join(said)} = true.",
            "Run it as root, or set them to false.",
        )


def _users(config: NodeConfig, partitions: tuple[Partition, ...], observed: Observed) -> Iterable[MakeUser]:
    if not config.format.alter_user:
        return
    if config.format.software_user not in observed.users:
        yield MakeUser(config.format.software_user, config.software_root)
    for number, partition in enumerate(partitions):
        name = f"{config.format.user_base_name}{number}"
        if name not in observed.users:
            yield MakeUser(name, config.partition(partition.name))


def _addresses(config: NodeConfig, partitions: tuple[Partition, ...], observed: Observed) -> Iterable[AddAddress]:
    if not config.format.alter_network:
        return
    for partition in partitions:
        wanted = (*(f"{each}/32" for each in partition.ipv4), *(f"{each}/128" for each in partition.ipv6))
        for address in wanted:
            if address not in observed.addresses and not ipaddress.ip_interface(address).ip.is_loopback:
                yield AddAddress(config.format.interface_name, address)


def _address(network: str, number: int) -> str:
    """The address of the n-th partition; the first two of a network are left to the network itself and its router."""
    try:
        parsed = ipaddress.ip_network(network)
        return str(parsed[number + 2])
    except (ValueError, IndexError) as error:
        raise InvalidInput(
            f"Partition {number} gets no address in {network!r}.", str(error), "Mend the networks in [slapformat]."
        ) from error


# There are fewer than a thousand numbers for system users otherwise.
_MANY = ("--key", "SYS_UID_MAX=59999", "--key", "SYS_GID_MAX=59999")
