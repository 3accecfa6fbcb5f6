"""Request files: small files in a partition by which an untrusted tenant asks its node for something."""

import json
from typing import Any

from slap.model.errors import InvalidInput
from slap.node.partition.folder import PartitionFolder
from slap.system import environment
from slap.system.trust.untrusted_files import read_owned

_LONGEST = 64 * 1024  # bytes
_MOST = 256  # entries of a list


def read_request(folder: PartitionFolder, name: str) -> str | None:
    """The end of a file at the top of a partition; None without one.

    Raises InvalidInput for what is no ordinary file of the partition's user: root would read for a tenant what a link
    leads to, or wait for ever for the other end of a pipe.
    """
    path = folder.path / name
    try:
        return read_owned(folder.path, name, folder.account.user, _LONGEST)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InvalidInput(f"{path} is not read.", "It is no ordinary file of the partition's user.") from error


def read_list(folder: PartitionFolder, name: str) -> list[Any] | None:
    """The JSON list in a request file; raises InvalidInput for anything else."""
    text = read_request(folder, name)
    if text is None:
        return None
    try:
        entries = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{folder.name}: {name} is not JSON.", str(error)) from error
    if not isinstance(entries, list) or len(entries) > _MOST:
        raise InvalidInput(f"{folder.name}: {name} is no list of at most {_MOST} entries.")
    return entries


def unix_user(folder: PartitionFolder) -> int:
    """The user id of a partition, for packet filters; raises InvalidInput where partitions have no users."""
    if folder.account.user is None or not environment.is_root():
        raise InvalidInput(
            f"{folder.name} asks for a firewall, which this node cannot give it.",
            "Rules are about Unix users, and this node runs all partitions as one.",
            "Set alter_user = true in slapos.cfg and run the node as root.",
        )
    return folder.account.user
