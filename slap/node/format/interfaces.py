"""Tap interfaces of partitions, for virtual machines, and their bridge."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from slap.model.computer import Partition
from slap.model.errors import InvalidInput
from slap.node.core.accounts import partition_account
from slap.node.core.config import FormatConfig, NodeConfig
from slap.node.format.journal import Kind, Made
from slap.system.network.netlink import Link, Network


@dataclass(frozen=True)
class MakeBridge:
    name: str

    def __str__(self) -> str:
        return f"make bridge {self.name}"

    @property
    def made(self) -> Made:
        return Made(kind=Kind.BRIDGE, name=self.name)

    def do(self, config: NodeConfig, network: Network) -> None:
        network.add_bridge(self.name)


@dataclass(frozen=True)
class MakeTap:
    """`anew`: replace a tap of another user, whose programs could read the guests' traffic."""

    name: str
    partition: str
    owner: str = ""
    bridge: str = ""
    anew: bool = False

    def __str__(self) -> str:
        whose = f" of {self.owner}" if self.owner else ""
        where = f" at {self.bridge}" if self.bridge else ""
        return f"make tap {self.name}{whose}{where}" + (" anew" if self.anew else "")

    @property
    def made(self) -> Made:
        return Made(kind=Kind.TAP, name=self.name)

    def do(self, config: NodeConfig, network: Network) -> None:
        """Make the tap; its user may have been made by the same plan."""
        user = partition_account(config, self.partition).user
        if self.anew:
            network.delete_link(self.name)
        network.add_tap(self.name, os.getuid() if user is None else user, self.bridge)


@dataclass(frozen=True)
class Interfaces:
    """The interfaces of a computer, and its users' ids by name."""

    links: Mapping[str, Link] = field(default_factory=dict)
    users: Mapping[str, int] = field(default_factory=dict)


def tap_name(config: FormatConfig, number: int) -> str:
    return f"{config.tap_base_name}{number}" if config.create_tap else ""


def missing_links(
    config: FormatConfig, partitions: tuple[Partition, ...], found: Interfaces
) -> Iterable[MakeBridge | MakeTap]:
    """The interfaces to make; raises InvalidInput for a name that another kind of interface has."""
    if not config.create_tap:
        return
    bridge = _bridge(config, found.links)
    if bridge and _kind(found.links, bridge, "bridge") is None:
        yield MakeBridge(bridge)
    for number, partition in enumerate(partitions):
        owner = f"{config.user_base_name}{number}" if config.alter_user else ""
        tap = MakeTap(partition.tap, partition.name, owner, bridge)
        known = _kind(found.links, partition.tap, "tap") if partition.tap else None
        if partition.tap and (known is None or not _is_as_wanted(tap, known, found.users)):
            is_anothers = known is not None and known.owner != _number(owner, found.users)
            yield MakeTap(tap.name, tap.partition, owner, bridge, anew=is_anothers)


def _bridge(config: FormatConfig, links: Mapping[str, Link]) -> str:
    """The configured bridge, or the interface of the addresses when that is a bridge."""
    if config.bridge_name:
        return config.bridge_name
    own = links.get(config.interface_name)
    return config.interface_name if own and own.kind == "bridge" else ""


def _is_as_wanted(tap: MakeTap, known: Link, users: Mapping[str, int]) -> bool:
    return known.is_up and known.bridge == tap.bridge and known.owner == _number(tap.owner, users)


def _number(owner: str, users: Mapping[str, int]) -> int | None:
    return users.get(owner) if owner else os.getuid()


def _kind(links: Mapping[str, Link], name: str, wanted: str) -> Link | None:
    known = links.get(name)
    if known and known.kind != wanted:
        raise InvalidInput(
            f"{name} is no {wanted}.",
            f"This computer has an interface of that name{f', a {known.kind}' if known.kind else ''}.",
            "Choose another bridge_name or tap_base_name in [slapformat].",
        )
    return known
