"""CPU pinning: a processor of its own for each process that `.slapos-cpu-exclusive` names, if allowed.

The first processor is left to everybody else. The file only grows, for whoever asks for a processor adds a line: what ended
or is not the partition's is passed over.
"""

import os
from collections.abc import Iterable, Mapping, Sequence

from slap.model.errors import InvalidInput
from slap.node.manager.base import Hooks, Tools
from slap.node.partition.folder import PartitionFolder
from slap.node.partition.request_files import read_request
from slap.system.host.cpusets import CpuSets, find_cpusets
from slap.system.processes import is_alive


def assign(cpus: Sequence[int], taken: Mapping[int, frozenset[int]], wanted: Iterable[int]) -> dict[int, int]:
    """Assign free processors to the processes that wait for one; the first processor is for all."""
    served = {pid for cpu in cpus[1:] for pid in taken.get(cpu, ())}
    free = iter(cpu for cpu in cpus[1:] if not taken.get(cpu))
    waiting = [pid for pid in dict.fromkeys(wanted) if pid not in served]
    return dict(zip(waiting, free, strict=False))


class Cpuset(Hooks):
    """Pins processes; at each check, those that wait get processors that became free."""

    request_file = ".slapos-cpu-exclusive"

    def __init__(self, tools: Tools, sets: CpuSets | None = None) -> None:
        super().__init__(tools)
        self._sets = sets

    def configured(self, folder: PartitionFolder) -> None:
        text = read_request(folder, self.request_file)
        wanted = [pid for pid in _numbers(text or "") if _is_own(pid, folder)]
        if not wanted:
            return
        self._check_right(folder)
        sets = self._sets or find_cpusets()
        moves = assign(sets.cpus(), sets.taken(), wanted)
        for pid, cpu in moves.items():
            sets.give(pid, cpu)
        if moves:
            sets.move_others()

    def _check_right(self, folder: PartitionFolder) -> None:
        allowed = self.tools.config.power_user_list.replace(",", " ").split()
        if folder.account.name not in allowed:
            raise InvalidInput(
                f"{folder.name} may not have processors of its own.",
                f"Its user {folder.account.name or '(none)'} is not in power_user_list.",
                "Add it in slapos.cfg, or order the service without.",
            )


def _numbers(text: str) -> list[int]:
    """The first may be cut off, in a file that is too long to be read whole; a number that is none is passed over."""
    return [int(word) for word in text.split() if word.isdecimal() and len(word) < 10]


def _is_own(pid: int, folder: PartitionFolder) -> bool:
    try:
        owner = os.stat(f"/proc/{pid}").st_uid
    except OSError:
        return False
    return owner == (os.getuid() if folder.account.user is None else folder.account.user) and is_alive(pid)
