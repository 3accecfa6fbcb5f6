"""Access control of the cache: by token, by client certificate, or by Unix user of this machine."""

import base64
import binascii
import os

from starlette.requests import HTTPConnection

from slap.cache.server.entry_quota import writer_id
from slap.cache.server.settings import Reading
from slap.cache.server.tokens import TokenFile
from slap.model.errors import Unauthenticated
from slap.system.revocations import RevokedCertificates
from slap.system.serving.connections import mark_known
from slap.system.serving.peer import is_direct, peer_of


class AccessControl:
    """Decides which requests may read and write."""

    def __init__(self, tokens: TokenFile, read: Reading, revoked: RevokedCertificates) -> None:
        self._tokens = tokens
        self._read = read
        self._revoked = revoked

    def writer(self, request: HTTPConnection) -> str:
        """The id of who may write, empty for others; raises Busy for one with too many connections."""
        writer = self.find_writer(request)
        if writer:
            mark_known(request.scope, writer, writer)
        return writer

    def find_writer(self, request: HTTPConnection) -> str:
        """Credentials that are shown count alone, be they wrong."""
        token = token_of(request.headers.get("authorization", ""))
        if token:
            name = self._tokens.name(token)
            return writer_id("token", name) if name else ""
        peer = peer_of(request.scope)
        if peer is None:
            return ""
        if peer.serial:
            return "" if self._revoked.find_refusal(peer.serial) else writer_id("certificate", peer.serial)
        is_ours = is_direct(request.scope) and peer.user() in (0, os.geteuid())
        return writer_id("user", "") if is_ours else ""

    def write(self, request: HTTPConnection) -> str:
        """The id of who may write; raises Unauthenticated for others."""
        writer = self.writer(request)
        if not writer:
            raise Unauthenticated(
                "This cache does not know who writes.",
                self._why_certificate_is_refused(request)
                or "It takes a token, a client certificate of its authority, or its own Unix user on its own machine.",
                "Who runs the cache makes a token: slapos cache token NAME",
            )
        return writer

    def _why_certificate_is_refused(self, request: HTTPConnection) -> str:
        peer = peer_of(request.scope)
        return self._revoked.find_refusal(peer.serial) if peer and peer.serial else ""

    def read(self, request: HTTPConnection) -> None:
        if self._read is Reading.CLOSED:
            self.write(request)


def token_of(authorization: str) -> str:
    """The token of an Authorization header, as such or as the password of whatever name; empty for none."""
    scheme, _, words = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return words.strip()
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(words, validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return "?"  # credentials of no use are still credentials
