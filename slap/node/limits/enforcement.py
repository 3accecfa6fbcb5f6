"""Which limits each partition has, and setting them: by cgroups where they can be had, else for each process."""

import logging
import math
import os
from contextlib import suppress
from hashlib import sha256

from slap.model.errors import CommandFailed, InvalidInput
from slap.model.node import DesiredInstance
from slap.model.resources.limits import ComputerLimits, Limits
from slap.node.core.config import NodeConfig
from slap.node.partition.folder import PartitionFolder
from slap.system import environment, files
from slap.system.host.cgroup import Cgroups, open_cgroups
from slap.system.host.launch import LaunchLimits
from slap.system.processes import find_marked

log = logging.getLogger(__name__)

_ORDINARY = 100  # the weight of who requests none
_GENTLEST, _STRONGEST = 19, -10  # nice(2)


class LimitsKeeper:
    """Keeps limits in force. What changed is applied to running processes too, so nothing is restarted for it."""

    def __init__(self, config: NodeConfig, cgroups: Cgroups | None) -> None:
        self._config = config
        self.cgroups = cgroups
        self._defaults, self._bounds = config.partition_limits
        self._current: dict[str, Limits] = {}

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
        launch = self._launch(folder, limits)
        is_first = not folder.limits_file.exists()
        if files.write_if_changed(folder.limits_file, launch.text(), 0o600) and not is_first:
            self._apply_to_running(folder, launch)
        return launch

    def forget(self, folder: PartitionFolder) -> None:
        self._current.pop(folder.name, None)
        folder.limits_file.unlink(missing_ok=True)
        if self.cgroups:
            self.cgroups.remove(folder.name)

    def _launch(self, folder: PartitionFolder, limits: Limits) -> LaunchLimits:
        may_raise = environment.is_root()
        return LaunchLimits(
            processes=limits.processes if folder.account.user is not None else None,
            descriptors=limits.descriptors,
            nice=_nice(limits.cpu_weight, may_raise),
            io_level=_io_level(limits.io_weight, may_raise),
            cgroup=self._cgroup(folder, limits),
            keeps_rights=folder.account.user is not None,
        )

    def _cgroup(self, folder: PartitionFolder, limits: Limits) -> str:
        if not self.cgroups:
            return ""
        try:
            return self.cgroups.make(folder.name, cgroup_settings(limits))
        except OSError as error:
            raise CommandFailed(f"{folder.name}: its limits cannot be set: {error}.") from error

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
    node = sha256(str(config.root).encode()).hexdigest()[:12]
    return LimitsKeeper(config, open_cgroups(node))


def computer_limits(config: NodeConfig) -> ComputerLimits:
    """What a node tells its master of its limits."""
    defaults, bounds = config.partition_limits
    return ComputerLimits(defaults=defaults, bounds=bounds, mechanism=mechanism(make_keeper(config).cgroups))


def mechanism(cgroups: Cgroups | None) -> str:
    return "cgroup v2" if cgroups else "resource limits and a watcher"


def cgroup_settings(limits: Limits) -> dict[str, str]:
    """The files of a cgroup, and what they shall say; from nine tenths of its memory on, the kernel slows it down."""
    memory = limits.memory
    return {
        "pids.max": str(limits.processes or "max"),
        "memory.max": str(memory or "max"),
        "memory.high": str(memory * 9 // 10) if memory else "max",
        "cpu.weight": str(limits.cpu_weight or _ORDINARY),
        "io.weight": f"default {limits.io_weight or _ORDINARY}",
    }


def _nice(weight: int | None, may_raise: bool) -> int | None:
    """The priority whose share is nearest to a weight: each step is a quarter (sched(7))."""
    if weight is None or weight == _ORDINARY:
        return 0 if may_raise else None
    steps = round(-math.log(weight / _ORDINARY) / math.log(1.25))
    return max(_STRONGEST if may_raise else 0, min(_GENTLEST, steps))


def _io_level(weight: int | None, may_raise: bool) -> int | None:
    if weight is None or weight == _ORDINARY:
        return None
    level = max(0, min(7, 4 - round(math.log2(weight / _ORDINARY))))
    return level if may_raise else max(4, level)
