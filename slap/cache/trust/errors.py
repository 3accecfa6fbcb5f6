"""Rejected statements: a reason for programs and a message for people."""

from enum import StrEnum

from slap.model.errors import SlapError


class RejectionReason(StrEnum):
    """One for each rule. A refusal never stops a build: the node then builds from source, and says why."""

    MALFORMED = "malformed"
    TOO_LARGE = "too-large"
    WRONG_TYPE = "wrong-type"
    UNSIGNED = "unsigned"
    UNKNOWN_KEY = "unknown-key"
    REVOKED_KEY = "revoked-key"
    REPLACED_KEY = "replaced-key"
    LIMITED_KEY = "limited-key"
    BAD_SIGNATURE = "bad-signature"
    OTHER_KIND = "other-kind"
    OTHER_KEY = "other-key"
    OTHER_ROOT = "other-root"
    OTHER_OS = "other-os"
    OTHER_LIBC = "other-libc"
    OTHER_MACHINE = "other-machine"
    OTHER_PYTHON = "other-python"
    EXPIRED = "expired"
    FROM_THE_FUTURE = "from-the-future"
    ROLLBACK = "rollback"
    TWO_FACED = "two-faced"


class RejectedStatement(SlapError):
    """A signed statement or its envelope breaks a rule of trust."""

    kind = "refused"
    http_status = 403

    def __init__(self, reason: RejectionReason, brief: str, details: str = "", resolution: str = "") -> None:
        super().__init__(brief, details, resolution)
        self.reason = reason
