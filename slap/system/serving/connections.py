"""The connections of a server, and which of them it closes when there are too many.

Every connection begins as one of an unknown caller. Those of unknown callers are limited for each address and in all,
so that known callers always find room. A new connection is preferred to the oldest one of an unknown caller without a
complete request. When all room is taken, the owner with the most connections loses the one that was used least lately.
"""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from ipaddress import IPv6Address, ip_address

from starlette.types import Scope

from slap.model.errors import Busy
from slap.system.serving.limits import ConnectionLimits
from slap.system.serving.refusals import Refusal, Refusals

SCOPE_KEY = "slap.connection"
# Unknown callers never take more than this part of all connections.
_UNKNOWN_PART = 0.75

# A dictionary stands for an ordered set, the oldest connection first.
_OrderedSet = dict["Connection", None]


class Connection:
    """One connection: from where, of whom, and how it is closed."""

    __slots__ = ("address", "caller", "close", "is_waiting", "opened", "owner", "table", "unsent")

    def __init__(self, table: "ConnectionTable", address: str, close: Callable[[], object]) -> None:
        self.table = table
        self.address = address
        self.close = close  # replaced as the connection goes from TLS handshake to requests
        self.opened = time.monotonic()
        self.caller = ""
        self.owner = ""
        self.is_waiting = True  # for a complete request
        self.unsent = 0  # bytes of answers that the other end does not take

    def count(self, refusal: Refusal) -> None:
        self.table.count(refusal, self.address)


class ConnectionTable:
    """All connections of one process. `capacity` is how many there may be."""

    def __init__(self, limits: ConnectionLimits, capacity: int, is_loopback_limited: bool = True) -> None:
        self.limits = limits
        self.refusals = Refusals()
        self.capacity = min(limits.connections or capacity, capacity)
        self.unknown_capacity = min(limits.unknown_connections, max(1, int(self.capacity * _UNKNOWN_PART)))
        self.per_address = min(limits.connections_per_address, self.unknown_capacity)
        self.per_caller = min(limits.connections_per_caller, max(1, self.capacity // 4))
        self._is_loopback_limited = is_loopback_limited
        self._all: set[Connection] = set()
        self._unknown: Counter[str] = Counter()  # by address
        self._waiting: _OrderedSet = {}  # of unknown callers, without a complete request
        self._waiting_at: defaultdict[str, _OrderedSet] = defaultdict(dict)  # the same by address
        self._owned: defaultdict[str, _OrderedSet] = defaultdict(dict)  # of known callers, by owner
        self._of_caller: Counter[str] = Counter()
        self._unsent: Counter[str] = Counter()  # bytes by caller
        self.known = 0

    @property
    def unknown(self) -> int:
        return len(self._all) - self.known

    def count(self, refusal: Refusal, address: str = "") -> None:
        self.refusals.add(refusal, address, asyncio.get_running_loop().call_later)

    def admit(self, address: str, close: Callable[[], object]) -> Connection | None:
        """A new connection from an address, for which others may be closed; None when there is no room."""
        source = network_of(address)
        refusal = self._make_room(source)
        if refusal:
            self.count(refusal, source)
            return None
        connection = Connection(self, source, close)
        self._all.add(connection)
        self._join_unknown(connection)
        return connection

    def free_one(self, refusal: Refusal) -> bool:
        """Close the connection that is missed least; whether there was one."""
        if self._close_oldest(self._waiting, refusal):
            return True
        return self._close_oldest(max(self._owned.values(), key=len, default={}), refusal)

    def set_waiting(self, connection: Connection, is_waiting: bool) -> None:
        """Say whether a complete request came, or its answer was given."""
        connection.is_waiting = is_waiting
        if connection not in self._all:
            return
        if connection.caller:
            if not is_waiting:  # the one that was used last comes last
                self._owned[connection.owner].pop(connection)
                self._owned[connection.owner][connection] = None
        elif is_waiting:
            self._add_waiting(connection)
        else:
            self._drop_waiting(connection)

    def mark_known(self, connection: Connection, caller: str, owner: str) -> None:
        """Note that a request showed the credentials of a caller; raises Busy for one that holds too much."""
        if connection.caller != caller and connection in self._all:
            if self._of_caller[caller] >= self.per_caller:
                connection.count(Refusal.TOO_MANY_OF_CALLER)
                raise Busy(
                    "This caller has too many connections.",
                    f"Each may have {self.per_caller}.",
                    "Close some, or raise connections_per_caller in slapos.cfg of the server.",
                )
            self._leave(connection)
            connection.caller, connection.owner = caller, owner
            self._join_known(connection)
        if self._unsent[caller] > self.limits.unsent_per_caller:
            connection.count(Refusal.UNSENT_ANSWERS)
            raise Busy("This caller does not read the answers to its requests.", "", "Read them, then ask again.")

    def set_unsent(self, connection: Connection, size: int) -> None:
        """Note how many bytes of answers wait until the other end takes them."""
        if connection.caller and connection in self._all:
            _add(self._unsent, connection.caller, size - connection.unsent)
        connection.unsent = size

    def remove(self, connection: Connection) -> None:
        """Forget a connection that is closed; nothing happens to one that was removed before."""
        if connection in self._all:
            self._leave(connection)
            self._all.remove(connection)

    def _make_room(self, source: str) -> Refusal | None:
        """Close what is over a limit once there is one more; the limit that still holds, None when there is room."""
        is_limited = bool(source) or self._is_loopback_limited
        is_crowded = is_limited and self._unknown[source] >= self.per_address
        if is_crowded and not self._close_oldest(self._waiting_at.get(source, {}), Refusal.TOO_MANY_OF_ADDRESS):
            return Refusal.TOO_MANY_OF_ADDRESS
        is_full = self.unknown >= self.unknown_capacity
        if is_full and not self._close_oldest(self._waiting, Refusal.TOO_MANY_UNKNOWN):
            return Refusal.TOO_MANY_UNKNOWN
        if len(self._all) >= self.capacity and not self.free_one(Refusal.TOO_MANY_CONNECTIONS):
            return Refusal.TOO_MANY_CONNECTIONS
        return None

    def _close_oldest(self, connections: _OrderedSet, refusal: Refusal) -> bool:
        oldest = next(iter(connections), None)
        if oldest is None:
            return False
        oldest.count(refusal)
        self.remove(oldest)
        oldest.close()
        return True

    def _leave(self, connection: Connection) -> None:
        if connection.caller:
            self.known -= 1
            _discard(self._owned, connection.owner, connection)
            _add(self._of_caller, connection.caller, -1)
            _add(self._unsent, connection.caller, -connection.unsent)
        else:
            _add(self._unknown, connection.address, -1)
            self._drop_waiting(connection)

    def _join_known(self, connection: Connection) -> None:
        self.known += 1
        self._owned[connection.owner][connection] = None
        self._of_caller[connection.caller] += 1
        _add(self._unsent, connection.caller, connection.unsent)

    def _join_unknown(self, connection: Connection) -> None:
        self._unknown[connection.address] += 1
        self._add_waiting(connection)

    def _add_waiting(self, connection: Connection) -> None:
        self._waiting[connection] = None
        self._waiting_at[connection.address][connection] = None

    def _drop_waiting(self, connection: Connection) -> None:
        self._waiting.pop(connection, None)
        _discard(self._waiting_at, connection.address, connection)


def mark_known(scope: Scope, caller: str, owner: str) -> None:
    """Note on the connection of a request whose credentials it showed; raises Busy for a caller that holds too much."""
    if connection := connection_of(scope):
        connection.table.mark_known(connection, caller, owner)


def connection_of(scope: Scope) -> Connection | None:
    """The connection that a request came by; None for a server that keeps no table of them."""
    return scope.get(SCOPE_KEY)


def count(scope: Scope, refusal: Refusal) -> None:
    """Count what is refused to a request."""
    if connection := connection_of(scope):
        connection.count(refusal)


def counts(scope: Scope) -> dict[str, Mapping[str, int]]:
    """For a health page: connections there are, and what was refused since the start; of this process."""
    connection = connection_of(scope)
    if connection is None:
        return {}
    table = connection.table
    return {"connections": {"known": table.known, "unknown": table.unknown}, "refused": table.refusals.counts()}


def network_of(address: str) -> str:
    """An address as it counts for limits: of IPv6 its /64, which is one machine; empty for this machine."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, IPv6Address):
        found = found.ipv4_mapped or found
    if found.is_loopback:
        return ""
    return str(IPv6Address(int(found) >> 64 << 64)) if isinstance(found, IPv6Address) else str(found)


def _add(counts: Counter[str], name: str, number: int) -> None:
    """Names whose count is zero are forgotten: callers and addresses come and go."""
    counts[name] += number
    if not counts[name]:
        del counts[name]


def _discard(sets: dict[str, _OrderedSet], name: str, connection: Connection) -> None:
    if found := sets.get(name):
        found.pop(connection, None)
        if not found:
            del sets[name]
