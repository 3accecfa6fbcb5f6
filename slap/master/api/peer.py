"""What a request says of who sends it: credentials, the certificate that TLS verified, the Unix user on this machine."""

from starlette.requests import Request

from slap.master.access.request_credentials import Knock
from slap.system.serving.peer import Peer, PeerProtocol, is_direct, peer_of

__all__ = ["Peer", "PeerProtocol", "knock_of"]


def knock_of(request: Request) -> Knock:
    """What a request says of who sends it."""
    authorization = request.headers.get("authorization", "")
    peer = peer_of(request.scope)
    if peer is None:
        return Knock(authorization)
    return Knock(authorization, peer.serial, peer.user, is_direct(request.scope))
