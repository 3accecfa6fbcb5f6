"""A call of one JSON-RPC method: who calls, what it is about, and what answers."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from slap.master.access.auth import Caller
from slap.master.api.call import Services
from slap.master.database.store import Store
from slap.master.release.reader import ReleaseReading
from slap.master.slapos.served_revision import Served
from slap.master.slapos.single_reports import Spoken

Document = dict[str, Any]


@dataclass(frozen=True)
class RpcCall:
    """Who calls, and what answers; `base` is the address under which the caller reached the master.

    `sender` is who sent the call, where that one speaks for a partition as which it calls.
    """

    caller: Caller
    sender: Caller
    services: Services
    served: Served
    base: str
    read_release: ReleaseReading

    @property
    def store(self) -> Store:
        return self.services.store

    @property
    def spoken(self) -> Spoken:
        return Spoken(self.store, self.services.reports, self.served)


@dataclass(frozen=True)
class Method:
    """What a method takes, and what it does."""

    takes: Any  # a model of schema.py
    does: Callable[[RpcCall, Any], Awaitable[Document]]


def done(title: str) -> Document:
    """The answer of whatever has nothing else to say."""
    return {"type": "success", "title": title}
