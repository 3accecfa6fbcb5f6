"""Messages between the agent and the fork server: jobs, results, and ends of builds.

Job and answer pass through files in memory that only the agent and one build have: neither is ever in the memory of the
warm process, of which every build has a copy.
"""

from enum import StrEnum

from pydantic import Field

from slap.model.base import Frozen
from slap.model.node import PartitionContext
from slap.model.values import Parameters
from slap.node.core.file_names import Digest
from slap.node.core.store import Installed
from slap.system.host.launch import UNLIMITED, LaunchLimits


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
    limits: LaunchLimits = UNLIMITED


class BuildEnd(Frozen):
    """The fork server's message that a build ended; `reason` is empty when the build answered."""

    id: int
    reason: str = ""


class BuildResult(Frozen):
    """The result of a job; `fingerprint` identifies the state of a built release.

    It is written by a process that ran the code of a release or a tenant, so all of it may be forged: each field is bounded,
    and nothing in it is believed that only the node can know.
    """

    id: int
    outcome: Outcome
    message: str = ""
    connection: Parameters | None = None
    shared: dict[str, Parameters] | None = None  # by guid, what was published for shared instances
    installed: Installed = Installed()
    children: int = Field(default=0, ge=0, lt=1 << 63)  # up to which of its children's news it was answered
    fingerprint: Digest = ""
    is_taken: bool = False  # from a cache, instead of being built
