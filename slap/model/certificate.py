"""Certificates as they travel: requests for them, and what is given."""

import re
from datetime import datetime

from pydantic import Field

from slap.model.base import Frozen, Name, PartitionName
from slap.model.errors import InvalidInput
from slap.model.values import Line, Text, Word

# More than any request for a certificate with a sensible key has.
LARGEST_REQUEST = 16_384


class CertificateRequest(Frozen):
    """A PKCS #10 request in PEM. Who the certificate is for is said by the master, not by the request.

    A computer may ask for one for the instance in one of its `partition`s, and else everybody for themselves.
    """

    request: Text = Field(max_length=LARGEST_REQUEST)
    partition: PartitionName | None = None


class IssuedCertificate(Frozen):
    """A certificate in PEM, and the authority that signed it."""

    certificate: str
    authority: str
    serial: str
    expires_at: datetime


class KeyPair(Frozen):
    """A certificate with the key that the master made for it: only for protocols that know no other way."""

    certificate: str
    key: str = Field(repr=False)


class Authority(Frozen):
    """The master's own authority in PEM, and the SHA-256 of its certificate in hexadecimal digits."""

    certificate: str
    fingerprint: str


class RegistrationTokenRequest(Frozen):
    """Ask for a one-time token, for the computer of this title; or, to take over one that was lost, of this guid."""

    title: Name | None = None
    guid: Word = Field(default="", max_length=64)


class RegistrationToken(Frozen):
    """A one-time token: the only time that it is shown."""

    token: str = Field(repr=False)
    expires_at: datetime


class NodeRegistration(Frozen):
    """A node registers by a one-time token. It gets a certificate where the master ends TLS, and a token elsewhere."""

    token: Line = Field(repr=False, max_length=300)
    title: Name
    request: Text = Field(max_length=LARGEST_REQUEST)


class RegisteredNode(Frozen):
    """Who the node is from now on, and by what it shows that."""

    guid: str
    title: str
    token: str = Field(default="", repr=False)
    certificate: str = ""
    authority: str = ""


_TOKEN = "register"
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")


def token_words(secret: str, fingerprint: str) -> str:
    """A one-time token. It names the authority of its master, where that has one, so that a node knows whom to trust."""
    return ":".join(filter(None, (_TOKEN, secret, fingerprint)))


def fingerprint_in(token: str) -> str:
    """The fingerprint of the authority in a one-time token, empty for none; raises InvalidInput for other words."""
    kind, _, rest = token.partition(":")
    fingerprint = rest.partition(":")[2]
    if kind != _TOKEN or not rest or (fingerprint and not _FINGERPRINT.fullmatch(fingerprint)):
        raise InvalidInput(
            "This is not a registration token.",
            f"It should begin with {_TOKEN}: and be whole.",
            "slapos computer token makes one.",
        )
    return fingerprint
