"""What a partition declares of its programs: settings of services, and promises.

Declared promises need no program (etc/plugin/NAME.json); the others are programs, and SlapOS's plugins.
"""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from slap.model.base import Frozen

_LONGEST_PAUSE_SECONDS = 366 * 86400

# One line of text without control characters, and without what some programs take for a line end.
Line = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]*$", max_length=4096)]
Host = Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z.:_-]*$", max_length=255)]
Expected = Annotated[str, StringConstraints(max_length=4096)]
Argument = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$", max_length=65536)]
VariableName = Annotated[str, StringConstraints(pattern=r"^[^\x00=]+$", max_length=256)]


class _Timed(Frozen):
    timeout: float = Field(default=5, gt=0, le=600)  # seconds that one run may take
    frequency: float = Field(default=60, ge=1, le=_LONGEST_PAUSE_SECONDS)  # seconds between two runs


class NetworkCheck(_Timed):
    """A promise that the node checks by itself, without starting a program.

    `port`: a TCP connection to host:port succeeds. `url`: a GET answers with a status below 400. `forward`: host:port is
    a forwarder, and does not hang up at once, as it does when nothing listens at the `target` that it leads to. What is
    `expect`ed is in the page of a URL, or in what a port says: after the line `send` was sent to it, if that is set. The
    kernel accepts connections also for a process that hangs: only a port that says something proves that its service works.
    Only the partition's own addresses are checked: the node must not be a tenant's door to other services.
    """

    check: Literal["port", "url", "forward"]
    host: Host
    port: int = Field(ge=1, le=65535)
    path: Line = "/"
    tls: bool = False
    expect: Expected = ""
    send: str = Field(default="", max_length=1000, pattern=r"^[^\x00-\x1f]*$")
    target: Line = ""  # for words only


class MachineCheck(_Timed):
    """A promise that the node checks by itself: a virtual machine runs, by what its file of phases says.

    With a port, its guest answers there too, and begins with what is `expect`ed. Until it does, the words are those of
    the phase: "image debian-12: 63% of 99 MiB", "booting, 4 s". Machines take longer to start than services do, so for
    as many seconds as `grace` says that is no error.
    """

    check: Literal["machine"]
    host: Host = ""
    port: int = Field(default=0, ge=0, le=65535)
    expect: Expected = "SSH-"
    grace: float = Field(default=0, ge=0, le=_LONGEST_PAUSE_SECONDS)


class CommandCheck(_Timed):
    """A promise that is a program, run as the partition's user; it passes when its status is 0."""

    check: Literal["command"]
    command: tuple[Argument, ...] = Field(min_length=1, max_length=1000)
    environment: dict[VariableName, Argument] = Field(default_factory=dict, max_length=1000)


class PluginCheck(_Timed):
    """A promise as SlapOS has them: etc/plugin/NAME.py with a class RunPromise, run as the partition's user.

    How often it runs is for its own code to say (setPeriodicity), so `frequency` is only for before its first run.
    """

    check: Literal["plugin"]
    path: Line
    timeout: float = Field(default=20, gt=0, le=600)
    frequency: float = Field(default=120, ge=1, le=_LONGEST_PAUSE_SECONDS)


StopTimeout = Annotated[int, Field(ge=1, le=3660)]  # seconds that a service may take to end before it is killed


class ServiceSettings(Frozen):
    """What supervision has to know of a service beyond its executable: `etc/service/.NAME.json`."""

    stop_timeout: StopTimeout = 10


Check = Annotated[NetworkCheck | MachineCheck | CommandCheck | PluginCheck, Field(discriminator="check")]
