"""What the watcher of limits sees of this computer, and what it does to processes."""

import logging
import os
import signal
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from slap.model.errors import NotFound
from slap.model.resources.limits import Limits
from slap.model.vm.size import in_words
from slap.node.buildout.builder import BUILDS
from slap.node.core.accounts import partition_account, software_account
from slap.node.core.config import NodeConfig
from slap.system.host.quota import DiskUse
from slap.system.metrics import Member, disk_use, members, open_files, proportional_memory

log = logging.getLogger(__name__)

# What an instantiation and scheduled commands print, as much as supervisord keeps of a service.
_UNROTATED = ("buildout.log", "cron.log")
_MAX_LOG_BYTES = 40 << 20


class Eyes(Protocol):
    """What is seen of a computer, of partitions, and of builds under the name BUILDS."""

    builds: set[Path]  # the folders of builds that run

    def members(self, partitions: Mapping[str, Limits]) -> dict[str, list[Member]]: ...
    def memory(self, pid: int) -> int: ...
    def files(self, pid: int) -> int:
        """How many a process has open."""
        ...

    def disk(self, partition: str) -> DiskUse: ...
    def trim_logs(self, partition: str) -> None: ...
    def end(self, pid: int) -> None: ...


@dataclass
class SystemEyes:
    """The real ones."""

    config: NodeConfig
    builds: set[Path] = field(default_factory=set)

    def members(self, partitions: Mapping[str, Limits]) -> dict[str, list[Member]]:
        if not self.config.format.alter_user:
            places = {str(self.config.partition(name)): name for name in partitions if name != BUILDS}
            builds = {str(folder): BUILDS for folder in self.builds if BUILDS in partitions}
            return members({}, places | builds)
        users = {}
        for name in partitions:
            with suppress(NotFound):
                is_build = name == BUILDS
                account = software_account(self.config) if is_build else partition_account(self.config, name)
                users[account.user or 0] = name
        return members(users, {})

    def memory(self, pid: int) -> int:
        return proportional_memory(pid)

    def files(self, pid: int) -> int:
        return open_files(pid)

    def disk(self, partition: str) -> DiskUse:
        """Of builds, the largest one."""
        if partition != BUILDS:
            return disk_use(self.config.partition(partition))
        return max(map(disk_use, list(self.builds)), key=lambda use: use.bytes, default=DiskUse(0, 0))

    def trim_logs(self, partition: str) -> None:
        """Empty the logs that no program rotates, where they are too long; who writes them only appends."""
        for name in _UNROTATED:
            path = self.config.partition_logs / partition / name
            if path.exists() and path.stat().st_size > _MAX_LOG_BYTES:
                log.warning("%s is emptied: it was longer than %s.", path, in_words(_MAX_LOG_BYTES))
                os.truncate(path, 0)

    def end(self, pid: int) -> None:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
