"""Undo `slapos node format`: remove what its journal names and still exists, and nothing else."""

import pwd
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from slap.model.errors import Conflict, InvalidInput
from slap.model.node import DesiredInstance
from slap.model.state import InstanceState, ReportedInstanceState
from slap.node.core.config import NodeConfig
from slap.node.core.formatted import FORMATTED
from slap.node.core.store import Store
from slap.node.format.groups import leave_group, members_of
from slap.node.format.journal import Journal, Kind, Made
from slap.system import environment
from slap.system.network.netlink import Link, Network
from slap.system.network.nftables import Nftables
from slap.system.process import Command, Runner

_ORDER = list(Kind)


@dataclass(frozen=True)
class UndoContext:
    """What undo works with; `table` has the rules of this node's firewall."""

    config: NodeConfig
    runner: Runner
    network: Network
    table: str


def undo_plan(config: NodeConfig, network: Network) -> tuple[Made, ...]:
    """What to remove, the last made first. What is gone already is left out."""
    made, links = Journal(config).made(), network.links()
    names = {each.interface for each in made} & set(links)
    addresses = {name: network.addresses(name) for name in names}
    users = frozenset(entry.pw_name for entry in pwd.getpwall())
    there = [
        each
        for each in made
        if (each.kind is Kind.USER and each.name in users)
        or (each.kind is Kind.MEMBER and each.name in (members_of(each.interface) or ()))
        or (each.kind is Kind.ADDRESS and each.name in addresses.get(each.interface, ()))
        or (each.kind in (Kind.BRIDGE, Kind.TAP) and each.name in links and links[each.name].kind == each.kind)
        or (each.kind is Kind.PARTITION and config.partition(each.name).is_dir())
    ]
    return tuple(sorted(there, key=lambda each: -_ORDER.index(each.kind)))


def check_undo(config: NodeConfig, plan: Iterable[Made], network: Network) -> None:
    """Raise Conflict naming each thing that is in use, and InvalidInput without root's rights."""
    going = tuple(plan)
    reasons = [*_held(config, going), *_ports(going, network.links())]
    if reasons:
        raise Conflict("What is in use is not removed.", "\n".join(reasons), "End its use first, then try again.")
    if any(each.kind is not Kind.PARTITION for each in going) and not environment.is_root():
        raise InvalidInput("Users, addresses and interfaces can only be removed by root.")


def execute_undo(plan: Iterable[Made], means: UndoContext) -> None:
    """Remove what is planned. What was interrupted is in the next plan again."""
    ledger = Journal(means.config)
    for each in plan:
        _HOW[each.kind](each, means)
        ledger.forget(each)
    (means.config.root / FORMATTED).unlink(missing_ok=True)
    if environment.is_root() and means.config.format.alter_user:
        nft = Nftables(means.runner)
        if nft.is_there():
            nft.forget(means.table)


def _held(config: NodeConfig, going: tuple[Made, ...]) -> Iterable[str]:
    """Reasons why partitions cannot be removed."""
    instances = _instances(config)
    for name in (each.name for each in going if each.kind is Kind.PARTITION):
        if name in instances:
            yield f"{name} holds the instance {instances[name]}: slapos service destroy {instances[name]}"
        elif any(config.partition(name).iterdir()):
            yield f"{name} is not empty: look into {config.partition(name)}"


def _instances(config: NodeConfig) -> dict[str, str]:
    """Names of the instances that exist or are wanted, by partition."""
    if not config.store_file.exists():
        return {}
    store = Store(config.store_file)
    try:
        return {each.partition: each.reference for each in store.instances() if not _is_gone(store, each)}
    finally:
        store.close()


def _is_gone(store: Store, instance: DesiredInstance) -> bool:
    record = store.instance_record(instance.partition)
    is_another = record is None or record.guid != instance.guid
    reported = is_another or (record is not None and record.report.state is ReportedInstanceState.DESTROYED)
    return instance.state is InstanceState.DESTROYED and reported


def _ports(going: tuple[Made, ...], links: Mapping[str, Link]) -> Iterable[str]:
    """Reasons why bridges cannot be removed: ports that somebody else added."""
    taps = {each.name for each in going if each.kind is Kind.TAP}
    for bridge in (each.name for each in going if each.kind is Kind.BRIDGE):
        others = sorted(name for name, link in links.items() if link.bridge == bridge and name not in taps)
        if others:
            yield f"{bridge} has other ports: {', '.join(others)}"


def _remove_user(made: Made, means: UndoContext) -> None:
    means.runner.run(Command(("userdel", made.name), env={"PATH": environment.CLEAN_PATH})).check()


def _remove_member(made: Made, means: UndoContext) -> None:
    leave_group(made, means.runner)


def _remove_address(made: Made, means: UndoContext) -> None:
    means.network.remove(made.interface, made.name)


def _remove_link(made: Made, means: UndoContext) -> None:
    means.network.delete_link(made.name)


def _remove_partition(made: Made, means: UndoContext) -> None:
    """Remove an empty partition folder; raises OSError if a file was added meanwhile."""
    means.config.partition(made.name).rmdir()
    shutil.rmtree(means.config.partition_logs / made.name, ignore_errors=True)


_HOW: Mapping[Kind, Callable[[Made, UndoContext], None]] = {
    Kind.USER: _remove_user,
    Kind.MEMBER: _remove_member,
    Kind.ADDRESS: _remove_address,
    Kind.BRIDGE: _remove_link,
    Kind.TAP: _remove_link,
    Kind.PARTITION: _remove_partition,
}
