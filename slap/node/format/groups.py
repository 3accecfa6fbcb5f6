"""Membership of partition users in the group of /dev/kvm."""

import grp
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from slap.model.computer import Partition
from slap.node.core.config import FormatConfig
from slap.node.format.journal import Kind, Made
from slap.system import environment
from slap.system.process import Command, Runner

KVM_DEVICE = Path("/dev/kvm")
_ENV = {"PATH": environment.CLEAN_PATH}


@dataclass(frozen=True)
class JoinGroup:
    user: str
    group: str

    def __str__(self) -> str:
        return f"add {self.user} to group {self.group}"

    @property
    def made(self) -> Made:
        return Made(kind=Kind.MEMBER, name=self.user, interface=self.group)

    def do(self, runner: Runner) -> None:
        runner.run(Command(("usermod", "--append", "--groups", self.group, self.user), env=_ENV)).check()


def members_of(group: str) -> frozenset[str] | None:
    """The members of a group; None where there is no such group."""
    try:
        return frozenset(grp.getgrnam(group).gr_mem)
    except KeyError:
        return None


def missing_members(
    config: FormatConfig, partitions: tuple[Partition, ...], members: frozenset[str] | None
) -> Iterable[JoinGroup]:
    """The memberships to add; none where this computer has no such group."""
    if not config.alter_user or members is None:
        return
    names = (f"{config.user_base_name}{number}" for number in range(len(partitions)))
    yield from (JoinGroup(name, config.kvm_group) for name in names if name not in members)


def leave_group(made: Made, runner: Runner) -> None:
    runner.run(Command(("gpasswd", "--delete", made.name, made.interface), env=_ENV)).check()


def may_use_kvm(config: FormatConfig, device: Path = KVM_DEVICE) -> bool:
    """Whether partitions may open the device."""
    if not config.alter_user:
        return os.access(device, os.R_OK | os.W_OK)
    try:
        seen = device.stat()
    except OSError:
        return False
    for_all, for_group = stat.S_IROTH | stat.S_IWOTH, stat.S_IRGRP | stat.S_IWGRP
    if seen.st_mode & for_all == for_all:
        return True
    return seen.st_mode & for_group == for_group and _number(config.kvm_group) == seen.st_gid


def _number(group: str) -> int | None:
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        return None
