"""What a machine is doing just now, in words for whoever ordered it: a small file in its partition, `var/vm/phase.json`."""

from enum import StrEnum

from slap.model.base import Frozen

PHASE_FILE = "var/vm/phase.json"


class Stage(StrEnum):
    """How far a machine has come."""

    WAITING_FOR_IMAGE = "image"  # an image is not there yet
    PREPARING = "preparing"  # disks and seed are made
    BOOTING = "booting"  # the machine runs; whether its guest answers is for promises to say
    RESTARTING = "restarting"  # a change, or a restored snapshot, needs the machine to be off for a moment
    STOPPING = "stopping"  # the guest was asked to end
    STOPPED = "stopped"
    FAILED = "failed"  # it cannot be run, and why; tried again by supervisord

    @property
    def runs(self) -> bool:
        return self is Stage.BOOTING


class Phase(Frozen):
    """`since` is in seconds since the epoch; `acceleration` is known once the machine runs."""

    stage: Stage
    words: str = ""  # "image debian-12: 63% of 99 MiB", or what went wrong
    since: float = 0.0
    acceleration: str = ""
