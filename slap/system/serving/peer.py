"""Who is at the other end of a connection: the certificate that it showed, and, on this machine, its Unix user."""

from functools import cached_property
from typing import Any, cast

from starlette.types import Scope

from slap.system.serving.parked import ParkingProtocol
from slap.system.trust.peer import Address, is_loopback, user_of_socket

_SCOPE_KEY = "slap.peer"
# What a browser adds to a request of a page, and a proxy to one of somebody else.
_NOT_DIRECT = (b"origin", b"sec-fetch-site", b"referer", b"forwarded", b"x-forwarded-for", b"x-real-ip", b"via")


class Peer:
    """The other end of one connection. `serial` is that of the certificate that TLS verified, empty for none."""

    def __init__(self, serial: str, its: Address | None, ours: Address | None) -> None:
        self.serial = serial
        self._its = its
        self._ours = ours

    @property
    def is_here(self) -> bool:
        return bool(self._its and self._ours and is_loopback(self._its[0]))

    @cached_property
    def _user(self) -> int | None:
        return user_of_socket(self._its, self._ours) if self._its and self._ours and self.is_here else None

    def user(self) -> int | None:
        """The Unix user that it runs as, when it is on this machine: asked once, and only if somebody wants to know."""
        return self._user


class PeerProtocol(ParkingProtocol):
    """uvicorn's HTTP protocol, which tells the application also who is at the other end."""

    __slots__ = ("_peer",)

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        certificate = transport.get_extra_info("peercert") or {}
        serial = certificate.get("serialNumber", "")
        self._peer = Peer(f"{int(serial, 16):x}" if serial else "", self.client, cast(Address | None, self.server))

    def on_message_begin(self) -> None:
        super().on_message_begin()
        cast(dict[str, Any], self.scope)[_SCOPE_KEY] = self._peer

    def shutdown(self) -> None:
        """The server ends. Over TLS an idle client would be waited for, until it says that it heard of that."""
        is_idle = self.cycle is None or self.cycle.response_complete
        if is_idle and self.scheme == "https" and not self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            super().shutdown()


def peer_of(scope: Scope) -> Peer | None:
    """The other end of the connection that a request came by; None when the server tells none."""
    return scope.get(_SCOPE_KEY)


def is_direct(scope: Scope) -> bool:
    """Whether a request is of a program on this machine that means this server.

    A page in a browser could do on this machine what it likes, were its requests taken for its reader's wishes.
    """
    peer = peer_of(scope)
    if peer is None or not peer.is_here:
        return False
    headers = dict(scope["headers"])
    return not any(name in headers for name in _NOT_DIRECT) and is_loopback(_host(headers.get(b"host", b"")))


def _host(header: bytes) -> str:
    host = header.decode("latin-1").strip().lower()
    return host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
