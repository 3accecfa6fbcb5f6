"""Whose a folder is and as whom programs run: one Unix user a partition, or everything as whoever runs the node."""

import os
import pwd
from dataclasses import dataclass
from pathlib import Path

from slap.model.errors import NotFound
from slap.node.config import NodeConfig


@dataclass(frozen=True)
class Account:
    """A Unix user by name and numbers; without them, the user that runs the node."""

    name: str = ""
    user: int | None = None
    group: int | None = None

    def own(self, path: Path) -> None:
        """Make a folder or file this account's."""
        if self.user is not None and self.group is not None:
            os.chown(path, self.user, self.group, follow_symlinks=False)


def partition_account(config: NodeConfig, partition: str) -> Account:
    """The account of a partition: slappart3 is slapuser3's."""
    number = partition.removeprefix(config.format.partition_base_name)
    return _account(config, config.format.user_base_name + number)


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
    return Account(name, entry.pw_uid, entry.pw_gid)
