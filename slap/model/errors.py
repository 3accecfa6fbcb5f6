"""Errors that people see: what happened (brief), why (details), and what to do next (resolution)."""

from typing import ClassVar

from slap.model.base import Frozen
from slap.model.values import escape_controls


class ErrorDocument(Frozen):
    """An error as it travels over the wire, and as `-f json` prints it."""

    kind: str
    brief: str
    details: str = ""
    resolution: str = ""


class SlapError(Exception):
    """The root of all errors that a user can cause or mend.

    `kind` names the class on the wire, `http_status` and `exit_code` say how the master and the command line render it.
    """

    kind: ClassVar[str] = "failed"
    http_status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 1

    def __init__(self, brief: str, details: str = "", resolution: str = "") -> None:
        super().__init__(brief)
        # They repeat what others said, and go to logs, terminals and documents.
        self.brief = escape_controls(brief)
        self.details = escape_controls(details)
        self.resolution = escape_controls(resolution)

    def document(self) -> ErrorDocument:
        return ErrorDocument(kind=self.kind, brief=self.brief, details=self.details, resolution=self.resolution)

    def __str__(self) -> str:
        return "\n".join(part for part in (self.brief, self.details, self.resolution) if part)


class InvalidInput(SlapError):
    """Something that was typed or sent is not of the right form."""

    kind = "invalid-input"
    http_status = 400


class UsageError(InvalidInput):
    """The command line itself is wrong."""

    kind = "usage"
    exit_code = 2


class InvalidParameters(InvalidInput):
    """Instance parameters break the schema of the software release; `details` lists every violation."""

    kind = "invalid-parameters"


class BrokenRelease(InvalidInput):
    """A software release cannot be read: missing profile, broken schema, unknown type."""

    kind = "broken-release"


class Unauthenticated(SlapError):
    """No token, or one that the master does not know."""

    kind = "unauthenticated"
    http_status = 401


class Forbidden(SlapError):
    """The token is good, but not for this."""

    kind = "forbidden"
    http_status = 403


class QuotaExceeded(SlapError):
    """More than a user may have; nothing was changed."""

    kind = "quota-exceeded"
    http_status = 403


class NotFound(SlapError):
    """No such computer, release, supply or instance within the caller's sight."""

    kind = "not-found"
    http_status = 404


class Conflict(SlapError):
    """The request contradicts what is there."""

    kind = "conflict"
    http_status = 409


class TooLarge(SlapError):
    """More than the other side takes at once."""

    kind = "too-large"
    http_status = 413


class TooMany(SlapError):
    """More often than the other side takes it: later it may."""

    kind = "too-many"
    http_status = 429


class Busy(SlapError):
    """There is no room for this request now; later there may be."""

    kind = "busy"
    http_status = 503


class StorageFull(SlapError):
    """There is no room left where it was to be stored."""

    kind = "storage-full"
    http_status = 507


class CannotBePlaced(SlapError):
    """No computer fits; `details` says why, candidate by candidate."""

    kind = "cannot-be-placed"
    http_status = 409
    exit_code = 4


class NotReady(SlapError):
    """Accepted, but not yet as requested."""

    kind = "not-ready"
    http_status = 409
    exit_code = 3


class Unreachable(SlapError):
    """The other side does not answer; nothing is known about what it did."""

    kind = "unreachable"
    http_status = 503


class NotOffered(SlapError):
    """The other side speaks a protocol that has no such question."""

    kind = "not-offered"
    http_status = 501


class CommandFailed(SlapError):
    """A program ended with a non-zero status, was killed, or could not be started."""

    kind = "command-failed"


class BuildFailed(SlapError):
    """A buildout of a software release or of a partition failed; `details` is the tail of its log."""

    kind = "build-failed"


def _all_kinds(base: type[SlapError]) -> dict[str, type[SlapError]]:
    """By kind the class that has it first: a subclass elsewhere that adds no kind of its own is not what was sent."""
    kinds: dict[str, type[SlapError]] = {}
    for subclass in base.__subclasses__():
        kinds |= _all_kinds(subclass)
    return kinds | {base.kind: base}


def from_document(document: ErrorDocument) -> SlapError:
    """The error that was rendered as `document` on the other side of the wire."""
    kind = _all_kinds(SlapError).get(document.kind, SlapError)
    return kind(document.brief, document.details, document.resolution)
