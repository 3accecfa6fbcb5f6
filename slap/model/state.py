"""States, never mixed: what was requested, what was reported, and what is derived from both for display."""

from enum import StrEnum


class InstanceState(StrEnum):
    """What somebody asked an instance to be."""

    STARTED = "started"
    STOPPED = "stopped"
    DESTROYED = "destroyed"

    def may_become(self, new: "InstanceState") -> bool:
        """Destroyed is final; the other two alternate freely."""
        return self is not InstanceState.DESTROYED or new is InstanceState.DESTROYED


class ReportedInstanceState(StrEnum):
    """What the node last saw of an instance."""

    NONE = ""
    INSTANTIATING = "instantiating"
    STARTED = "started"
    STOPPED = "stopped"
    ERROR = "error"
    DESTROYED = "destroyed"
    UNKNOWN = "unknown"  # what its node saw is not told by its master; no node reports this

    def may_become(self, new: "ReportedInstanceState") -> bool:
        """Reports are repeated, reordered and lost, so all is legal but coming back from destroyed."""
        return self is not ReportedInstanceState.DESTROYED or new is ReportedInstanceState.DESTROYED


class SupplyState(StrEnum):
    """What somebody asked of a software release on a computer."""

    AVAILABLE = "available"
    DESTROYED = "destroyed"


class ReportedSupplyState(StrEnum):
    """What the node last saw of a software release on itself."""

    NONE = ""
    BUILDING = "building"
    AVAILABLE = "available"
    ERROR = "error"
    DESTROYED = "destroyed"
    UNKNOWN = "unknown"  # the same


class Status(StrEnum):
    """What people are shown of an instance, derived from what was requested and what was reported."""

    WAITING = "waiting"
    STARTING = "starting"
    STARTED = "started"
    STOPPING = "stopping"
    STOPPED = "stopped"
    DESTROYING = "destroying"
    DESTROYED = "destroyed"
    ERROR = "error"
    UNKNOWN = "unknown"

    @property
    def is_settled(self) -> bool:
        """Nothing more is going to happen by itself, or to be heard of it."""
        return self in (Status.STARTED, Status.STOPPED, Status.DESTROYED, Status.UNKNOWN)


_ON_THE_WAY = {
    InstanceState.STARTED: Status.STARTING,
    InstanceState.STOPPED: Status.STOPPING,
    InstanceState.DESTROYED: Status.DESTROYING,
}


def derive_status(requested: InstanceState, reported: ReportedInstanceState, is_current: bool = True) -> Status:
    """The one word for a pair of states: only what was seen by the node is ever called started, stopped or destroyed.

    A report that is not current, about what was requested before, says nothing of what is requested now.
    """
    if reported in (ReportedInstanceState.DESTROYED, ReportedInstanceState.UNKNOWN):
        return Status(reported.value)
    if is_current and reported is ReportedInstanceState.ERROR:
        return Status.ERROR
    if is_current and reported.value == requested.value:
        return Status(reported.value)
    if reported is ReportedInstanceState.NONE and requested is InstanceState.STARTED:
        return Status.WAITING
    return _ON_THE_WAY[requested]
