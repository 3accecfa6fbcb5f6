"""HTTP to servers that a stranger names: whoever fetches for strangers must not be their way to where they may not go."""

import ipaddress
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.utils import select_proxy
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import NameResolutionError, NewConnectionError

from slap.model.errors import InvalidInput
from slap.model.network.firewall import Network
from slap.system.network.line import Pace
from slap.system.network.netlink import is_delivered_here
from slap.system.network.reader import Reader, answers_by

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_SPAN, _SLOWEST = 60.0, 16 << 10  # within so many seconds, so many bytes a second


@dataclass(frozen=True)
class Gate:
    """Which addresses may be asked: public ones of other computers, and all in networks that are `allowed`.

    A proxy of the environment is asked whatever its address is. It looks names up by itself, so what it may reach is its
    own to know; what is seen from here to lead astray is not asked of it.
    """

    allowed: tuple[Network, ...] = ()
    resolution: str = ""
    monotonic: Callable[[], float] = time.monotonic

    def session(self) -> requests.Session:
        """For one download. It follows redirects, each of which is judged anew, and ends what comes too slowly."""
        made = _Session()
        for scheme in ("http://", "https://"):
            made.mount(scheme, _Adapter(self))
        return made

    def passes(self, address: str) -> bool:
        parsed = _meant(address.partition("%")[0])
        if any(parsed in network for network in self.allowed):
            return True
        is_public = parsed.is_global and not parsed.is_multicast and not parsed.is_reserved
        return is_public and not is_delivered_here(str(parsed))

    def addresses(self, host: str, port: int | None) -> list[str]:
        """Those of a host that may be asked; raises InvalidInput when there are none, and OSError when nobody knows it."""
        found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
        passing = [address for each in found if self.passes(address := str(each[4][0]))]
        if not passing:
            raise InvalidInput(
                f"Nothing is fetched from {host}.", "It is this computer, or in a network that is not public.",
                self.resolution,
            )  # fmt: skip
        return passing


def _meant(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Some IPv6 addresses stand for IPv4 ones: of this computer's sockets, and of who translates for it (NAT64, 6to4)."""
    parsed = ipaddress.ip_address(address)
    if parsed.version == 4:
        return parsed
    translated = ipaddress.IPv4Address(int(parsed) & 0xFFFFFFFF) if parsed in _NAT64 else None
    return parsed.ipv4_mapped or parsed.sixtofour or translated or parsed


class _Session(requests.Session):
    """Passwords of whoever runs this (~/.netrc) are for nobody whom a stranger names; proxies of the environment count."""

    def prepare_request(self, request: requests.Request) -> requests.PreparedRequest:
        with self._alone():
            return super().prepare_request(request)

    def rebuild_auth(self, prepared_request: requests.PreparedRequest, response: requests.Response) -> None:
        with self._alone():
            super().rebuild_auth(prepared_request, response)  # type: ignore[no-untyped-call]

    @contextmanager
    def _alone(self) -> Iterator[None]:
        self.trust_env = False
        try:
            yield
        finally:
            self.trust_env = True


class _Adapter(HTTPAdapter):
    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        super().__init__()

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = _pools(self._gate, is_judged=True)

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **options)
        manager.pool_classes_by_scheme = _pools(self._gate, is_judged=False)
        return manager

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        proxies: Mapping[str, str] = options.get("proxies") or {}
        if select_proxy(request.url or "", proxies):
            with suppress(OSError):  # there are networks in which only the proxy can look names up
                self._gate.addresses(urlsplit(request.url or "").hostname or "", None)
        return super().send(request, *args, **options)


def _pools(gate: Gate, *, is_judged: bool) -> dict[str, Any]:
    """What makes connections, in urllib3's way: by classes."""

    class Plain(_Careful, HTTPConnection):
        the_gate, judges = gate, is_judged

    class Secure(_Careful, HTTPSConnection):
        the_gate, judges = gate, is_judged

    class Plains(HTTPConnectionPool):
        ConnectionCls = Plain

    class Secures(HTTPSConnectionPool):
        ConnectionCls = Secure

    return {"http": Plains, "https": Secures}


class _Careful(HTTPConnection):
    """What was judged is what is connected to: another look at a name may find another address."""

    the_gate: Gate
    judges: bool

    def connect(self) -> None:
        super().connect()
        pace = Pace(_SPAN, _SLOWEST, self.the_gate.monotonic)
        self.response_class = answers_by(lambda source: _Paced(source, pace))  # type: ignore[assignment]

    def _new_conn(self) -> socket.socket:
        return self._connected() if self.judges else super()._new_conn()

    def _connected(self) -> socket.socket:
        name, last = self._dns_host, None
        try:
            for address in self.the_gate.addresses(name, self.port):
                self._dns_host = address
                try:
                    return super()._new_conn()
                except NewConnectionError as error:
                    last = error
        except socket.gaierror as error:
            raise NameResolutionError(name, self, error) from error
        finally:
            self._dns_host = name
        raise last or NewConnectionError(self, "there is no address")


class _Paced(Reader):
    """Reads from a socket that has a time-out of its own, which begins again with each byte that drips in."""

    def __init__(self, source: socket.socket, pace: Pace) -> None:
        super().__init__(source)
        self._pace = pace

    def readinto(self, buffer: Any) -> int | None:
        size = self.open.readinto(buffer)
        self._pace.arrived(size or 0)
        if self._pace.is_late():
            raise ConnectionAbortedError(f"it sends less than {_SLOWEST >> 10} KiB a second")
        return size
