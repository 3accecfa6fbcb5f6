"""What the agent asks of the warm builder process, and what that answers: one JSON document a line."""

from enum import StrEnum

from pydantic import Field

from slap.model.base import Frozen
from slap.model.node import PartitionContext
from slap.model.values import Parameters
from slap.node.store import Installed


class Outcome(StrEnum):
    """How a buildout run ended; WAITING: it needs what another instance has not published yet."""

    DONE = "done"
    WAITING = "waiting"
    FAILED = "failed"


class BuildJob(Frozen):
    """One buildout run. With `context` it is the instantiation of a partition, without it the build of a release."""

    id: int
    folder: str
    profile: str  # text of the buildout.cfg that is to be run in the folder
    log: str
    environment: dict[str, str] = Field(default_factory=dict)
    user: int | None = None
    group: int | None = None
    timeout: float  # seconds
    context: PartitionContext | None = None


class BuildResult(Frozen):
    """What came of a job; `fingerprint` tells one state of a built release from another."""

    id: int
    outcome: Outcome
    message: str = ""
    connection: Parameters | None = None
    shared: dict[str, Parameters] | None = None  # by guid, what was published for shared instances
    installed: Installed = Installed()
    children: int = 0  # up to which of its children's news the instantiation was answered
    fingerprint: str = ""
    is_taken: bool = False  # from a cache, instead of being built
