"""A partition on disk: account, paths, and emptying it."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from slap.model.computer import Partition
from slap.model.errors import NotFound
from slap.node.core.accounts import Account, partition_account
from slap.node.core.config import NodeConfig
from slap.node.core.formatted import FORMATTED, read_format
from slap.node.core.store import Installed
from slap.node.partition.supervision import group_text, partition_environment, partition_programs
from slap.node.promise.runner import PartitionPlace
from slap.system import files
from slap.system.host.launch import UNLIMITED, load_launch_limits
from slap.system.processes import PARTITION_MARK, Mark, end_marked
from slap.system.trust.folders import remove_owned
from slap.system.trust.untrusted_files import hash_file

# Executables are mostly small scripts; of a larger one the rest counts by its size and time.
_MAX_HASHED_BYTES = 1 << 20
_DIGEST_LENGTH = 16


@dataclass(frozen=True)
class PartitionFolder:
    """One formatted partition."""

    config: NodeConfig
    partition: Partition
    account: Account

    @property
    def name(self) -> str:
        return self.partition.name

    @property
    def path(self) -> Path:
        return self.config.partition(self.name)

    @property
    def addresses(self) -> tuple[str, ...]:
        return (*self.partition.ipv6, *self.partition.ipv4)

    @property
    def logs(self) -> Path:
        return self.config.partition_logs / self.name

    @property
    def group_file(self) -> Path:
        return self.config.supervisor_folder / f"{self.name}.conf"

    @property
    def limits_file(self) -> Path:
        """The limits that supervisord sets before it starts a program; see slap/system/host/launch.py."""
        return self.config.supervisor_folder / f"{self.name}.limits"

    @property
    def mark(self) -> Mark:
        return Mark(PARTITION_MARK, str(self.path))

    def place(self) -> PartitionPlace:
        return PartitionPlace(
            self.path,
            frozenset(self.addresses),
            partition_environment(self.config, self.name, self.account.name),
            self.account.user,
            self.account.group,
            load_launch_limits(self.limits_file) if self.account.user is not None else UNLIMITED,
        )

    def group(self, installed: Installed) -> str:
        """The text of supervisord's file for this partition; empty when it runs nothing."""
        programs = partition_programs(self.config, self.name, self.account.name, installed)
        return group_text(self.name, programs) if programs else ""

    def with_digests(self, installed: Installed) -> Installed:
        """`installed` with current digests of executables: a changed digest restarts the service."""
        return installed.model_copy(
            update={
                "services": {name: self._digest(f"etc/service/{name}") for name in installed.services},
                "runs": {name: self._digest(f"etc/run/{name}") for name in installed.runs},
            }
        )

    def _digest(self, name: str) -> str:
        return hash_file(self.path, name, _MAX_HASHED_BYTES)[:_DIGEST_LENGTH]

    def make(self) -> None:
        """Create the partition's folder and its log folder."""
        files.make_folder(self.path, 0o700, self.account.owner)
        files.make_folder(self.logs, 0o750)

    def end_processes(self) -> None:
        """End all processes of the partition, including those that left supervisord."""
        end_marked(self.mark, self.account.user)

    def clear(self) -> None:
        """Empty the partition: its files, logs, group, and its user's files where everybody may write."""
        self.group_file.unlink(missing_ok=True)
        self.end_processes()
        for entry in self.path.iterdir() if self.path.exists() else ():
            files.remove_tree(entry)
        shutil.rmtree(self.logs, ignore_errors=True)
        if self.account.user is not None:
            remove_owned(self.account.user)


class Partitions:
    """The partitions of this node, by name."""

    def __init__(self, config: NodeConfig) -> None:
        self._config = config
        self._stamp = 0.0
        self._known: dict[str, Partition] = {}
        self._folders: dict[str, PartitionFolder] = {}

    def names(self) -> list[str]:
        return list(self._fresh())

    def get(self, name: str) -> PartitionFolder:
        """The folder of a partition; raises NotFound for one that was never formatted or whose user is gone."""
        known = self._fresh()
        if name not in known:
            raise NotFound(
                f"This computer has no partition {name}.",
                f"It has {len(known)} partitions.",
                "Raise partition_amount in slapos.cfg and type `slapos node format`.",
            )
        if name not in self._folders:
            account = partition_account(self._config, name)
            self._folders[name] = PartitionFolder(self._config, known[name], account)
        return self._folders[name]

    def _fresh(self) -> dict[str, Partition]:
        """The partitions by name, read again after each `slapos node format`."""
        path = self._config.root / FORMATTED
        stamp = path.stat().st_mtime if path.exists() else 0.0
        if stamp != self._stamp or not self._known:
            self._known = {each.name: each for each in read_format(self._config).partitions}
            self._folders = {}
            self._stamp = stamp
        return self._known
