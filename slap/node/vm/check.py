"""Whether a machine is what its service says, and its guest answers: one small file and one connection, no program."""

from pathlib import Path

from pydantic import ValidationError

from slap.model.check import MachineCheck, NetworkCheck
from slap.model.vm.phase import PHASE_FILE, Phase, Stage
from slap.system.network.look import sense_network
from slap.system.trust.stranger import read_owned

_LONGEST = 16 * 1024  # bytes
# A guest that says nothing for so long is no longer "booting".
_BOOTS = 120.0
# To wait for a greeting longer than this would only hold up the next look.
_LISTENS = 2.0


def sense_machine(check: MachineCheck, folder: Path, user: int | None, now: float) -> tuple[bool, str]:
    """Whether it passes, and in the phase's words why not."""
    phase = read_phase(folder, user)
    if phase is None:
        return False, "The machine was not started yet."
    if not phase.stage.runs:
        return False, words_of(phase)
    if not check.port:
        return True, ""
    passed, message = sense_network(_greeting(check))
    return (True, "") if passed else (False, _silence(now - phase.since, message))


def read_phase(folder: Path, user: int | None) -> Phase | None:
    """What its file says; None without one, or for one that no machine's service wrote."""
    try:
        return Phase.model_validate_json(read_owned(folder / PHASE_FILE, user, _LONGEST))
    except (OSError, ValidationError):
        return None


def words_of(phase: Phase) -> str:
    return f"{_STAGES[phase.stage]}{f' {phase.words}' if phase.words else ''}".strip()


def _greeting(check: MachineCheck) -> NetworkCheck:
    timeout = min(check.timeout, _LISTENS)
    return NetworkCheck(check="port", host=check.host, port=check.port, expect=check.expect, timeout=timeout)


def _silence(seconds: float, message: str) -> str:
    return f"booting, {seconds:.0f} s" if 0 <= seconds < _BOOTS else f"The guest does not answer: {message}"


_STAGES = {
    Stage.WAITING_FOR_IMAGE: "",
    Stage.PREPARING: "preparing disks",
    Stage.BOOTING: "booting",
    Stage.RESTARTING: "restarting",
    Stage.STOPPING: "stopping",
    Stage.STOPPED: "stopped",
    Stage.FAILED: "",
}
