"""Whether a machine is in the phase that its service reports, and its guest answers."""

import shutil
from collections.abc import Callable
from pathlib import Path

from pydantic import ValidationError

from slap.model.check import MachineCheck, NetworkCheck
from slap.model.vm.phase import PHASE_FILE, Phase, Stage
from slap.system.network.probe import sense_network
from slap.system.trust.untrusted_files import read_owned

_LONGEST = 16 * 1024  # bytes
# A guest that says nothing for so long is no longer "booting", whatever it was given.
_BOOTS = 120.0
# To wait for a greeting longer than this would only hold up the next look. But a guest that takes long to start, because its
# computer has much else to do, takes long to answer, too: to hang up too early, again and again, keeps it busy for ever.
_LISTENS, _LISTENS_LONGEST, _SHARE_OF_START = 2.0, 10.0, 0.1
# A disk of a machine grows by as much at a time, and by what qemu needs to find it again.
_LEAST_ROOM = 4 << 20  # bytes


def free_bytes(folder: Path) -> int:
    """Free bytes on the disk of a folder."""
    return shutil.disk_usage(folder).free


def sense_machine(
    check: MachineCheck, folder: Path, user: int | None, now: float, free: Callable[[Path], int] = free_bytes
) -> tuple[bool, str]:
    """Whether the check passes, and a message when it does not."""
    phase = read_phase(folder, user)
    if phase is None:
        return False, "The machine was not started yet."
    if not phase.stage.runs:
        return False, words_of(phase)
    if (room := free(folder)) < _LEAST_ROOM:
        return (
            False,
            f"The disk that {folder} is on is full: {room >> 20} MiB are free. What the guest writes may fail.",
        )
    if not check.port:
        return True, ""
    age = now - phase.since
    passed, message = sense_network(_greeting(check, age))
    return (True, "") if passed else (False, _silence(check, age, message))


def read_phase(folder: Path, user: int | None) -> Phase | None:
    """The phase in a machine's file; None without a valid one."""
    try:
        return Phase.model_validate_json(read_owned(folder, PHASE_FILE, user, _LONGEST))
    except (OSError, ValidationError):
        return None


def words_of(phase: Phase) -> str:
    return f"{_STAGES[phase.stage]}{f' {phase.words}' if phase.words else ''}".strip()


def _greeting(check: MachineCheck, age: float) -> NetworkCheck:
    timeout = min(check.timeout, _LISTENS_LONGEST, max(_LISTENS, _SHARE_OF_START * age))
    return NetworkCheck(check="port", host=check.host, port=check.port, expect=check.expect, timeout=timeout)


def _silence(check: MachineCheck, seconds: float, message: str) -> str:
    if 0 <= seconds < min(_BOOTS, check.grace or _BOOTS):
        return f"booting, {seconds:.0f} s"
    return f"The guest does not answer: {message} What it says is in `slapos service logs`, and on its screen."


_STAGES = {
    Stage.WAITING_FOR_IMAGE: "",
    Stage.PREPARING: "preparing disks",
    Stage.BOOTING: "booting",
    Stage.RESTARTING: "restarting",
    Stage.STOPPING: "stopping",
    Stage.STOPPED: "stopped",
    Stage.FAILED: "",
}
