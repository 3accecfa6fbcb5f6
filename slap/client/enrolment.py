"""Request certificates from a master, over its native protocol."""

from typing import TypeVar
from urllib.parse import urlsplit

from pydantic import BaseModel

from slap.client.credentials import Credentials
from slap.client.native import failure
from slap.model.base import Frozen
from slap.model.certificate import (
    Authority,
    CertificateRequest,
    IssuedCertificate,
    NodeRegistration,
    RegisteredNode,
    RegistrationToken,
    RegistrationTokenRequest,
)
from slap.model.errors import InvalidInput
from slap.system.transport import HttpTransport, Tls, Transport
from slap.system.trust.certificates import proven
from slap.system.trust.peer import is_loopback

Document = TypeVar("Document", bound=BaseModel)

_PATIENCE = 30.0


class EnrolmentClient:
    """Client of the registration and certificate calls of the master at `url`."""

    def __init__(self, url: str, credentials: Credentials, transport: Transport | None = None) -> None:
        self._base = url.rstrip("/") + "/api/v1"
        self._headers = {**credentials.headers, "Content-Type": "application/json"}
        self._transport = transport or credentials.transport()

    def authority(self) -> Authority:
        return self._ask(Authority, "GET", "/authority")

    def registration_token(self, wanted: RegistrationTokenRequest) -> RegistrationToken:
        return self._ask(RegistrationToken, "POST", "/registration-tokens", wanted)

    def register(self, wanted: NodeRegistration) -> RegisteredNode:
        return self._ask(RegisteredNode, "POST", "/registrations", wanted)

    def certificate(self, wanted: CertificateRequest) -> IssuedCertificate:
        return self._ask(IssuedCertificate, "POST", "/certificates", wanted)

    def _ask(self, kind: type[Document], method: str, path: str, body: Frozen | None = None) -> Document:
        content = body.model_dump_json().encode() if body else None
        reply = self._transport.send(method, self._base + path, self._headers, content, _PATIENCE)
        if reply.status >= 400:
            raise failure(reply)
        return kind.model_validate_json(reply.body)


def fetch_authority(url: str, fingerprint: str, transport: Transport | None = None) -> str:
    """Return a master's authority certificate in PEM; raises unless it has the given fingerprint.

    The connection is not verified before; no credentials are sent over it.
    """
    anybody = transport or HttpTransport(Tls(is_checked=False))
    return proven(EnrolmentClient(url, Credentials(), anybody).authority().certificate, fingerprint)


def refuse_open_network(url: str) -> None:
    """Raise InvalidInput when a token would be sent unencrypted over a network."""
    parts = urlsplit(url)
    if parts.scheme != "https" and not is_loopback(parts.hostname or ""):
        raise InvalidInput(
            f"Registration at {url} would show the token to the network.",
            "The URL begins with http:.",
            "Use the https: URL of the master; its operator enables that by tls = own in the section [master].",
        )
