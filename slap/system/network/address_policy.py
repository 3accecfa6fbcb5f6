"""Which addresses may be asked on behalf of somebody who is not trusted, and HTTP sessions that hold to it."""

import ipaddress
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.utils import select_proxy
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError

from slap.model.errors import InvalidInput
from slap.model.network.firewall import Network
from slap.system import environment
from slap.system.network.http_connection import Pace
from slap.system.network.netlink import is_delivered_here
from slap.system.network.reader import Reader, answers_by

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")  # nothing else of IPv6 is routed between networks
_NOT_ROUTED = tuple(map(ipaddress.ip_network, ("192.88.99.0/24", "3fff::/20")))  # which Python calls global
EVERYWHERE: tuple[Network, ...] = tuple(map(ipaddress.ip_network, ("0.0.0.0/0", "::/0")))
_MAX_REDIRECTS = 8
_PACE_SECONDS, _MIN_BYTES_PER_SECOND = 60.0, 16 << 10


def _resolve(host: str, port: int | None) -> list[str]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:  # a label is empty, or has more than 63 characters
        raise socket.gaierror(socket.EAI_NONAME, str(error)) from error
    return list(dict.fromkeys(str(each[4][0]) for each in found))


@dataclass(frozen=True)
class AddressPolicy:
    """Public addresses of other computers, and all in networks that are `allowed`.

    `resolution` is what the refused may do about it. `resolve` returns the addresses of a host, and raises OSError.
    """

    allowed: tuple[Network, ...] = ()
    resolution: str = ""
    resolve: Callable[[str, int | None], list[str]] = _resolve

    def allows(self, address: str) -> bool:
        parsed = _routed_address(address.partition("%")[0])
        if any(parsed in network for network in self.allowed):
            return True
        return _is_public(parsed) and not is_delivered_here(str(parsed))

    def addresses(self, host: str, port: int | None) -> list[str]:
        """The addresses of a host that may be asked; raises InvalidInput when there are none, OSError for an unknown host."""
        allowed = [address for address in self.resolve(host.strip("[]"), port) if self.allows(address)]
        if not allowed:
            raise self.refusal(host)
        return allowed

    def refusal(self, host: str) -> InvalidInput:
        """Also for hosts that are unknown, where it must not be told which names a network knows."""
        return InvalidInput(
            f"Nothing is fetched from {host}.",
            "It is unknown, or this computer, or in a network that is not public.",
            self.resolution,
        )


def _routed_address(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Some IPv6 addresses stand for IPv4 ones: of this computer's sockets, and of who translates for it (NAT64, 6to4)."""
    parsed = ipaddress.ip_address(address)
    if parsed.version == 4:
        return parsed
    translated = ipaddress.IPv4Address(int(parsed) & 0xFFFFFFFF) if parsed in _NAT64 else None
    return parsed.ipv4_mapped or parsed.sixtofour or translated or parsed


def _is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    if address.version == 6 and address not in _GLOBAL_UNICAST:
        return False
    is_routed = not any(address in network for network in _NOT_ROUTED)
    return is_routed and address.is_global and not address.is_multicast and not address.is_reserved


class Meter(Protocol):
    """Limits what one connection, or several, may take; both methods raise when it is too much."""

    def seconds_left(self, default: Any) -> Any:
        """The time-out of the next operation; `default` where only the connection's own counts."""

    def count(self, size: int) -> None:
        """So many bytes arrived, headers among them."""


class PaceMeter:
    """Ends a connection whose bytes come too slowly, however many there are."""

    def __init__(self, pace: Pace | None = None) -> None:
        self._pace = pace or Pace(_PACE_SECONDS, _MIN_BYTES_PER_SECOND)

    def seconds_left(self, default: Any) -> Any:
        return default

    def count(self, size: int) -> None:
        self._pace.arrived(size)
        if self._pace.is_late():
            raise ConnectionAbortedError(f"it sends less than {_MIN_BYTES_PER_SECOND >> 10} KiB a second")


def open_session(
    policy: AddressPolicy, new_meter: Callable[[], Meter] = PaceMeter, proxy: str = "", *, as_myself: bool = False
) -> requests.Session:
    """A session whose requests, redirects among them, reach what the policy allows only.

    A proxy that the operator names is asked whatever its address is. It looks names up by itself: what is seen from here
    to be forbidden is not asked of it, and for the rest it has to have a policy of its own. `new_meter` makes the meter of
    a connection. Without `as_myself`, proxies of the environment and passwords of ~/.netrc are not used.
    """
    session = _Session()
    session.trust_env = as_myself
    session.max_redirects = _MAX_REDIRECTS
    session.verify = environment.variable("REQUESTS_CA_BUNDLE") or environment.variable("CURL_CA_BUNDLE") or True
    session.proxies = {"http": proxy, "https": proxy} if proxy else {}
    for scheme in ("http://", "https://"):
        session.mount(scheme, _Adapter(policy, new_meter))
    return session


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Where a redirect leads. requests would read its body whole, however large it is."""
        target = super().get_redirect_target(resp)
        if target:
            resp._content = b""
            resp.close()
        return target


class _Adapter(HTTPAdapter):
    def __init__(self, policy: AddressPolicy, new_meter: Callable[[], Meter]) -> None:
        self._policy = policy
        self._new_meter = new_meter
        super().__init__()

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = _pool_classes(self._policy, self._new_meter)

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **options)
        manager.pool_classes_by_scheme = _pool_classes(AddressPolicy(EVERYWHERE), self._new_meter)
        return manager

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        proxies: Mapping[str, str] = options.get("proxies") or {}
        if select_proxy(request.url or "", proxies):
            self._check_before_proxy(urlsplit(request.url or "").hostname or "")
        return super().send(request, *args, **options)

    def _check_before_proxy(self, host: str) -> None:
        """Raises InvalidInput. In some networks only the proxy can look names up."""
        with suppress(OSError):
            self._policy.addresses(host, None)


def _pool_classes(policy: AddressPolicy, new_meter: Callable[[], Meter]) -> dict[str, Any]:
    """What makes connections, in urllib3's way: by classes."""

    class Plain(_GuardedConnection, HTTPConnection):
        address_policy, meter_factory = policy, staticmethod(new_meter)

    class Secure(_GuardedConnection, HTTPSConnection):
        address_policy, meter_factory = policy, staticmethod(new_meter)

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    return {"http": PlainPool, "https": SecurePool}


class _GuardedConnection(HTTPConnection):
    """What was judged is what is connected to: another look at a name may find another address."""

    address_policy: AddressPolicy
    meter_factory: Callable[[], Meter]

    def connect(self) -> None:
        self._meter = self.meter_factory()
        super().connect()
        self.response_class = answers_by(lambda source: _MeteredReader(source, self._meter))  # type: ignore[assignment]

    def _new_conn(self) -> socket.socket:
        name = self._dns_host
        last: NewConnectionError | ConnectTimeoutError | None = None
        try:
            for address in self.address_policy.addresses(name, self.port):
                self._dns_host = address
                self.timeout = self._meter.seconds_left(self.timeout)
                try:
                    return super()._new_conn()
                except (NewConnectionError, ConnectTimeoutError) as error:
                    last = error
        except socket.gaierror as error:
            raise NameResolutionError(name, self, error) from error
        finally:
            self._dns_host = name
        raise last or NewConnectionError(self, "there is no address")


class _MeteredReader(Reader):
    """Reads from a socket whose own time-out begins again with each byte that drips in."""

    def __init__(self, source: socket.socket, meter: Meter) -> None:
        super().__init__(source)
        self._meter = meter

    def readinto(self, buffer: Any) -> int | None:
        self.source.settimeout(self._meter.seconds_left(self.source.gettimeout()))
        size = self.open.readinto(buffer)
        self._meter.count(size or 0)
        return size
