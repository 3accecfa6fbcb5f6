"""Which limits each partition has, and setting them: by cgroups where they can be had, else for each process."""

import logging
import math
import os
from contextlib import suppress
from functools import cached_property
from hashlib import sha256

from slap.model.errors import CommandFailed, InvalidInput
from slap.model.node import DesiredInstance
from slap.model.resources.limits import ORDINARY_WEIGHT, ComputerLimits, Limits
from slap.node.buildout.builder import BUILDS
from slap.node.core.accounts import Account
from slap.node.core.config import NodeConfig
from slap.node.partition.folder import PartitionFolder
from slap.system import environment, files
from slap.system.host.cgroup import Cgroups, ProcessorGroups, open_cgroups, open_processor_groups
from slap.system.host.launch import LaunchLimits
from slap.system.host.quota import DiskQuotas, DiskUse, open_quotas
from slap.system.host.space import DiskSpace, disk_space
from slap.system.processes import find_marked

log = logging.getLogger(__name__)

# All builds of releases together, beside the names of partitions.
# Files that a partition may have in any case, however small its part of the disk is.
_FEWEST_FILES = 10_000
_GENTLEST, _STRONGEST = 19, -10  # nice(2)


class LimitsKeeper:
    """Keeps limits in force. What changed is applied to running processes too, so nothing is restarted for it."""

    def __init__(
        self,
        config: NodeConfig,
        cgroups: Cgroups | None,
        quotas: DiskQuotas | None = None,
        processors: ProcessorGroups | None = None,
    ) -> None:
        self._config = config
        self.cgroups = cgroups
        self.quotas = quotas
        self.processors = processors
        self._defaults, self._bounds = config.partition_limits
        self._current: dict[str, Limits] = {}
        self._limited_on_disk: dict[str, Limits] = {}

    @cached_property
    def _space(self) -> DiskSpace:
        """That of partitions as a whole, which seldom changes."""
        return disk_space(self._config.instance_root)

    def mechanism(self) -> str:
        """How limits are kept, for people."""
        first = "cgroup v2" if self.cgroups else "resource limits and a watcher"
        more = {"processor groups": self.processors, "project quotas": self.quotas}
        return ", ".join([first, *(name for name, there in more.items() if there)])

    def limits_of(self, desired: DesiredInstance) -> Limits:
        """What is in force for an instance; raises InvalidInput for more than this computer's owner allows."""
        if above := desired.limits.above(self._bounds):
            raise InvalidInput(
                "More is requested than the owner of this computer allows.",
                f"{'; '.join(above)}.",
                "Request less with --limit, or another computer; its owner allows more in [limits] of slapos.cfg.",
            )
        return self.requested(desired)

    def requested(self, desired: DesiredInstance) -> Limits:
        """What is requested, and the defaults for the rest; the owner may allow less."""
        return desired.limits.over(self._defaults)

    def current(self) -> dict[str, Limits]:
        """The limits in force, by partition."""
        return dict(self._current)

    def apply(self, folder: PartitionFolder, desired: DesiredInstance) -> LaunchLimits:
        limits = self.limits_of(desired)
        self._current[folder.name] = limits
        launch = self._launch(folder.name, folder.account, limits)
        is_first = not folder.limits_file.exists()
        if files.write_if_changed(folder.limits_file, launch.text(), 0o600) and not is_first:
            self._apply_to_running(folder, launch)
        self._apply_to_disk(folder, limits)
        return launch

    def apply_to_builds(self, account: Account) -> LaunchLimits:
        """What the process of a build is to set."""
        limits = self._config.build_limits
        self._current[BUILDS] = limits
        return self._launch(BUILDS, account, limits)

    def forget_builds(self) -> None:
        """None runs."""
        self._current.pop(BUILDS, None)

    def most_files(self, limits: Limits) -> int | None:
        """How many files a partition may have: the same part of the file system's as of its bytes."""
        if limits.disk is None or not self._space.files:
            return None
        return max(_FEWEST_FILES, int(self._space.files * min(1.0, limits.disk / self._space.total)))

    def forget(self, folder: PartitionFolder) -> None:
        self._current.pop(folder.name, None)
        if self.quotas and self._limited_on_disk.pop(folder.name, None) and folder.account.user is not None:
            self.quotas.remove(folder.path, folder.account.user)
        folder.limits_file.unlink(missing_ok=True)
        if self.cgroups:
            self.cgroups.remove(folder.name)
        if self.processors:
            self.processors.remove(folder.name)

    def _apply_to_disk(self, folder: PartitionFolder, limits: Limits) -> None:
        """Projects have the numbers of users, which no two partitions of a computer share."""
        if not self.quotas or folder.account.user is None or self._limited_on_disk.get(folder.name) == limits:
            return
        most = DiskUse(limits.disk or 0, self.most_files(limits) or 0)
        try:
            self.quotas.set(folder.path, folder.account.user, most)
        except OSError as error:
            raise CommandFailed(f"{folder.name}: its disk quota cannot be set: {error}.") from error
        self._limited_on_disk[folder.name] = limits

    def _launch(self, name: str, account: Account, limits: Limits) -> LaunchLimits:
        may_raise = environment.is_root()
        return LaunchLimits(
            processes=limits.processes if account.user is not None else None,
            descriptors=limits.descriptors,
            nice=_nice(limits.cpu_weight, may_raise),
            io_level=_io_level(limits.io_weight, may_raise),
            cgroup=self._cgroup(name, limits),
            keeps_rights=account.user is not None,
        )

    def _cgroup(self, name: str, limits: Limits) -> str:
        try:
            if self.cgroups:
                return self.cgroups.make(name, cgroup_settings(limits))
            return self.processors.make(name, limits.cpu_weight or ORDINARY_WEIGHT) if self.processors else ""
        except OSError as error:
            raise CommandFailed(f"{name}: its limits cannot be set: {error}.") from error

    def _apply_to_running(self, folder: PartitionFolder, launch: LaunchLimits) -> None:
        for pid in find_marked(folder.mark, folder.account.user):
            with suppress(OSError):  # it has just ended, or this root may not: then its next start brings the limits
                launch.limit(pid)
            with suppress(OSError):
                launch.place(pid)
                if launch.nice is not None:
                    os.setpriority(os.PRIO_PROCESS, pid, launch.nice)
        log.info("%s: limits %s", folder.name, launch.text())


def make_keeper(config: NodeConfig) -> LimitsKeeper:
    cgroups = open_cgroups(node_id(config))
    processors = open_processor_groups(node_id(config)) if config.format.alter_user and not cgroups else None
    return LimitsKeeper(config, cgroups, open_quotas(config.instance_root), processors)


def node_id(config: NodeConfig) -> str:
    """What tells the cgroups of one node on a computer from those of another."""
    return sha256(str(config.root).encode()).hexdigest()[:12]


def computer_limits(config: NodeConfig) -> ComputerLimits:
    """What a node tells its master of its limits."""
    defaults, bounds = config.partition_limits
    keeper = make_keeper(config)
    return ComputerLimits(defaults=defaults, bounds=bounds, mechanism=keeper.mechanism())


def cgroup_settings(limits: Limits) -> dict[str, str]:
    """The files of a cgroup, and what they shall say; from nine tenths of its memory on, the kernel slows it down."""
    memory = limits.memory
    return {
        "pids.max": str(limits.processes or "max"),
        "memory.max": str(memory or "max"),
        "memory.high": str(memory * 9 // 10) if memory else "max",
        "cpu.weight": str(limits.cpu_weight or ORDINARY_WEIGHT),
        "io.weight": f"default {limits.io_weight or ORDINARY_WEIGHT}",
    }


def _nice(weight: int | None, may_raise: bool) -> int | None:
    """The priority whose share is nearest to a weight: each step is a quarter (sched(7))."""
    if weight is None or weight == ORDINARY_WEIGHT:
        return 0 if may_raise else None
    steps = round(-math.log(weight / ORDINARY_WEIGHT) / math.log(1.25))
    return max(_STRONGEST if may_raise else 0, min(_GENTLEST, steps))


def _io_level(weight: int | None, may_raise: bool) -> int | None:
    if weight is None or weight == ORDINARY_WEIGHT:
        return None
    level = max(0, min(7, 4 - round(math.log2(weight / ORDINARY_WEIGHT))))
    return level if may_raise else max(4, level)
