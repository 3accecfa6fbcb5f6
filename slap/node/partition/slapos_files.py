"""Files in a partition that SlapOS's software reads, and by which SlapOS's operators trigger a run.

They lie at the top of the partition, whose own folder a tenant cannot replace, so root can write them safely; what a tenant
puts in their places, a pipe without end or a link, root does not read.
"""

import ipaddress
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from slap.model.computer import Partition
from slap.node.partition.folder import PartitionFolder
from slap.system import files

RESOURCE = ".slapos-resource"
TIMESTAMP = ".timestamp"
_TAP = ("ipv4_addr", "ipv4_netmask", "ipv4_gateway", "ipv4_network")
_LONGEST_ERROR = 20_000  # characters


def resource(partition: Partition, path: Path, user: str) -> dict[str, Any]:
    """The resources of a partition in SlapOS's form, as slapos.cookbook's slapconfiguration reads it."""
    return {
        "reference": partition.name,
        "path": str(path),
        "user": {"name": user} if user else None,
        "address_list": [_address(each) for each in (*partition.ipv4, *partition.ipv6)],
        "ipv6_range": {},
        "tap": {"name": partition.tap, **dict.fromkeys(_TAP, "")} if partition.tap else None,
        "tun": None,
        "external_storage_list": [],
    }


def write_resource(folder: PartitionFolder) -> None:
    """Write the resource file, before recipes read it."""
    known = resource(folder.partition, folder.path, folder.account.name)
    files.write(folder.path / RESOURCE, json.dumps(known, indent=4, sort_keys=True))


def write_success(folder: PartitionFolder, revision: int) -> None:
    """Write the time stamp; removing it has the next `slapos node instance` process the partition again."""
    error_file(folder).unlink(missing_ok=True)
    files.write(folder.path / TIMESTAMP, str(revision))


def write_failure(folder: PartitionFolder, message: str) -> None:
    """Write why the instantiation failed, for SlapOS's promises; a full disk is ignored."""
    with suppress(OSError):
        files.write(error_file(folder), message[:_LONGEST_ERROR])


def is_stale(partition: Path, now: float, periodicity: float | None = None) -> bool:
    """Whether the time stamp was removed, or is older than a number of seconds."""
    try:
        age = now - (partition / TIMESTAMP).lstat().st_mtime
    except FileNotFoundError:
        return True
    return periodicity is not None and age > periodicity


def error_file(folder: PartitionFolder) -> Path:
    return folder.path / f".slapgrid-{folder.name}-error.log"


def _address(address: str) -> dict[str, str]:
    version = ipaddress.ip_address(address).version
    netmask = "255.255.255.255" if version == 4 else str(ipaddress.IPv6Address((1 << 128) - 1))
    return {"addr": address, "netmask": netmask}
