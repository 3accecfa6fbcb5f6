"""socat's command line for a port that leads to another one."""

from dataclasses import dataclass
from typing import Literal

from slap.system.network.addresses import bracketed, version_of

Protocol = Literal["tcp", "udp"]

_BUFFER = "-b131072"  # twice as fast as socat's own 8 KiB
# Nothing says that a caller by UDP has gone, and each has a process.
_UDP_SILENCE = "-T180"  # seconds
# As many may knock at the same time; socat's own 5 are lost in a burst.
_BACKLOG = 128


@dataclass(frozen=True)
class Forward:
    """A port and where it leads.

    Without `address` it is one of all IPv4 addresses of the computer. The target sees connections come from `source`,
    when that is said, and with `user` they are handed over to that user once somebody connected.
    """

    port: int
    target: str
    target_port: int
    address: str = ""
    protocol: Protocol = "tcp"
    source: str = ""
    user: str = ""

    def argv(self, socat: str) -> tuple[str, ...]:
        silence = (_UDP_SILENCE,) if self.protocol == "udp" else ()
        return (socat, _BUFFER, *silence, self._listening(), self._connecting())

    def _listening(self) -> str:
        version = version_of(self.address or "0.0.0.0")
        options = (
            f"bind={bracketed(self.address)}" if self.address else "",
            "ipv6only=1" if version == 6 else "",
            "reuseaddr",
            "fork",
            f"backlog={_BACKLOG}" if self.protocol == "tcp" else "",
            f"su={self.user}" if self.user else "",
        )
        kind = f"{self.protocol.upper()}{version}-LISTEN:{self.port}"
        return ",".join((kind, *filter(None, options)))

    def _connecting(self) -> str:
        bind = f",bind={bracketed(self.source)}" if self.source else ""
        kind = f"{self.protocol.upper()}{version_of(self.target)}"
        return f"{kind}:{bracketed(self.target)}:{self.target_port}{bind}"
