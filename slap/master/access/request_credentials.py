"""All that a request says of who sends it, and which of that counts."""

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass


def _nobody() -> int | None:
    return None


@dataclass(frozen=True)
class Knock:
    """`authorization` is the header; `serial` that of the certificate that TLS verified; `user` tells the Unix user of a
    caller on this machine. `is_direct` says that the request came straight from a program on this machine.
    """

    authorization: str = ""
    serial: str = ""
    user: Callable[[], int | None] = _nobody
    is_direct: bool = False

    @property
    def token(self) -> str:
        """The token, which comes as such or as the password of whatever name; empty when there is none.

        Old clients also send `X-SlapPartition computer_id=...`, which anybody can write: it says nothing.
        """
        scheme, _, words = self.authorization.partition(" ")
        if scheme.lower() == "bearer":
            return words.strip()
        return _password(words) if scheme.lower() == "basic" else ""


def _password(words: str) -> str:
    try:
        return base64.b64decode(words, validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return ""
