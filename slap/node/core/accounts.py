"""Unix users of partitions and releases: one a partition, or all as the user that runs the node."""

import os
import pwd
from dataclasses import dataclass, replace
from pathlib import Path

from slap.model.errors import NotFound
from slap.node.core.config import NodeConfig


@dataclass(frozen=True)
class Account:
    """A Unix user by name and numbers; without them, the user that runs the node."""

    name: str = ""
    user: int | None = None
    group: int | None = None  # its own, by which its programs run
    folders: int | None = None  # the group that its folder is shown to belong to

    @property
    def owner(self) -> tuple[int, int] | None:
        """User and group id of its folders and files; None where they belong to the user that runs the node."""
        return None if self.user is None or self.folders is None else (self.user, self.folders)

    def chown(self, path: Path) -> None:
        """Make this account the owner of a path that lies where only the node may write."""
        if self.owner:
            os.chown(path, *self.owner, follow_symlinks=False)


def partition_account(config: NodeConfig, partition: str) -> Account:
    """The account of a partition: slappart3 is slapuser3's, and its folder is slapuser3:slapsoft, as SlapOS has it."""
    number = partition.removeprefix(config.format.partition_base_name)
    account = _account(config, config.format.user_base_name + number)
    return replace(account, folders=software_account(config).group)


def software_account(config: NodeConfig) -> Account:
    """The account by which releases are built."""
    return _account(config, config.format.software_user)


def _account(config: NodeConfig, name: str) -> Account:
    if not config.format.alter_user:
        return Account()
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise NotFound(f"There is no Unix user {name}.", resolution="Type `slapos node format`.") from None
    return Account(name, entry.pw_uid, entry.pw_gid, entry.pw_gid)


def check_name(option: str, found: str, wanted: str) -> None:
    """Raise ValueError unless a folder or user has the name that its number gives it."""
    if found != wanted:
        raise ValueError(f"{option} is {found!r} and not {wanted!r}, which the names in [slapformat] make it")
