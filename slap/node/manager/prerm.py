"""Pre-removal scripts (etc/prerm): run after the services ended, before the partition is emptied.

They run once each, as the partition's user, under supervision: an agent that is killed finds them at work, or ended, when
it comes back. A supervisord that is killed begins them anew, so they are to be written for being run twice.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from slap.model.errors import InvalidInput
from slap.node.core.file_names import check_file_name
from slap.node.manager.base import Hooks
from slap.node.partition.folder import PartitionFolder
from slap.node.partition.hooks import RemovalStatus
from slap.node.partition.supervision import REMOVAL_SUFFIX, Program, group_text, partition_environment
from slap.system import files
from slap.system.supervisor import ProcessInfo, ProcessState
from slap.system.trust.untrusted_files import list_files

log = logging.getLogger(__name__)

_MOST = 100
_MAX_ENTRIES = 10_000
_LAST_LINES = 3


@dataclass(frozen=True)
class ScriptStatus:
    """Which scripts run, which failed, and whether the running ones are overdue."""

    running: tuple[str, ...]
    failed: tuple[str, ...]
    overdue: bool


def judge(processes: Sequence[ProcessInfo], now: float, patience: float) -> ScriptStatus:
    """The status of the scripts; one that supervisor starts again counts as running."""
    running = [each for each in processes if each.state.is_alive or each.state is ProcessState.BACKOFF]
    begun = min((each.started for each in running if each.started), default=now)
    failed = [each.name for each in processes if each not in running and each.status != 0]
    return ScriptStatus(tuple(each.name for each in running), tuple(failed), bool(running) and now - begun > patience)


class Prerm(Hooks):
    """Waits for the scripts, for a limited time."""

    def is_leaving(self, folder: PartitionFolder) -> bool:
        return self._file(folder).exists()

    def leaving(self, folder: PartitionFolder) -> RemovalStatus:
        if not self._begin(folder):
            return RemovalStatus()
        group = folder.name + REMOVAL_SUFFIX
        now, patience = self.tools.clock.now().timestamp(), self.tools.config.prerm_timeout
        seen = judge(self.tools.supervisor.processes(group), now, patience)
        if seen.running and not seen.overdue:
            return RemovalStatus(f"pre-removal script {', '.join(seen.running)}")
        if seen.overdue:
            self.tools.supervisor.remove(group)
        late = [_late(name, self.tools.config.prerm_timeout) for name in seen.running]
        failed = [f"Pre-removal script {name} failed{_words(folder, name)}" for name in seen.failed]
        for complaint in (*late, *failed):
            log.error("%s: %s", folder.name, complaint)
        return RemovalStatus(complaints="\n".join((*late, *failed)))

    def emptied(self, folder: PartitionFolder) -> None:
        """Last: as long as the file is there, scripts are not begun anew in a partition that is half empty.

        The group is removed also where the file is gone: an agent may have been killed between the two.
        """
        self._file(folder).unlink(missing_ok=True)
        self.tools.supervisor.remove(folder.name + REMOVAL_SUFFIX)

    def _begin(self, folder: PartitionFolder) -> bool:
        """Start the scripts; returns whether there are any. Repeating it is harmless."""
        if not self._file(folder).exists():
            programs = [self._program(folder, name) for name in scripts_of(folder.path)]
            if not programs:
                return False
            files.make_folder(folder.logs, 0o750)
            files.write(self._file(folder), group_text(folder.name + REMOVAL_SUFFIX, programs), 0o600)
            log.info("%s: running pre-removal scripts", folder.name)
        self.tools.supervisor.update(folder.name + REMOVAL_SUFFIX)
        return True

    def _program(self, folder: PartitionFolder, name: str) -> Program:
        config = self.tools.config
        return Program(
            name=name,
            argv=(str(folder.path / "etc/prerm" / name),),
            log=_log(folder, name),
            directory=folder.path,
            environment=partition_environment(config, folder.name, folder.account.name),
            user=folder.account.name,
            once=True,
        )

    def _file(self, folder: PartitionFolder) -> Path:
        return self.tools.config.supervisor_folder / f"{folder.name}{REMOVAL_SUFFIX}.conf"


def scripts_of(partition: Path) -> list[str]:
    """The names of the scripts; a file that cannot be one is skipped, so that it blocks nothing."""
    folder = partition / "etc/prerm"
    try:
        found = list_files(partition, "etc/prerm", _MAX_ENTRIES)
    except OSError:  # none, or not a folder
        return []
    return [name for name in found[:_MOST] if _is_script(folder / name)]


def _is_script(path: Path) -> bool:
    try:
        check_file_name(path)
    except InvalidInput as error:
        log.error("%s", error)
        return False
    return True


def _late(name: str, patience: float) -> str:
    return f"Pre-removal script {name} did not end within {patience:g} s and was killed."


def _log(folder: PartitionFolder, name: str) -> Path:
    return folder.logs / f"prerm-{name}.log"


def _words(folder: PartitionFolder, name: str) -> str:
    said = files.tail(_log(folder, name), _LAST_LINES)
    return f": {said}" if said else " without a word."
