"""Connect to a master over the newest protocol that it offers."""

import importlib
from collections.abc import Callable
from typing import Any, cast

from slap.client.credentials import Credentials
from slap.client.identity import PartitionIdentity
from slap.client.master import Master
from slap.client.native import NativeMaster, NotNativeMaster
from slap.model.errors import Unreachable
from slap.system.transport import Transport


def connect(
    url: str, credentials: Credentials, transport: Transport | None = None, identity: PartitionIdentity | None = None
) -> Master:
    """Return the master at `url`, to be used by one thread.

    `identity` names the partition that calls, where the credentials do not.
    """
    way = transport or credentials.transport()
    return cast(
        Master, _AutoMaster(NativeMaster(url, credentials.token, way), lambda: _make_slapos_master(url, way, identity))
    )


class _AutoMaster:
    """A master that is called over the native protocol, or over SlapOS's once an answer shows that it has no other.

    A native master costs no extra request, another one a single request that fails. The choice holds until the master
    is unreachable: it may come back as another one.
    """

    def __init__(self, native: NativeMaster, make_slapos: Callable[[], Master]) -> None:
        self._native = native
        self._make_slapos = make_slapos
        self._slapos: Master | None = None
        self._is_slapos = False

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_"):
            raise AttributeError(name)
        return lambda *given, **named: self._call(name, *given, **named)

    def _call(self, name: str, *given: Any, **named: Any) -> Any:
        if not self._is_slapos:
            try:
                return getattr(self._native, name)(*given, **named)
            except NotNativeMaster:
                self._slapos = self._slapos or self._make_slapos()
        self._is_slapos = True
        try:
            return getattr(self._slapos, name)(*given, **named)
        except Unreachable:
            self._is_slapos = False
            raise


def _make_slapos_master(url: str, transport: Transport, identity: PartitionIdentity | None) -> Master:
    """Return the client of SlapOS's protocols; its modules are imported here, since most commands never need them."""
    module = importlib.import_module("slap.client.slapos.master")
    return cast(Master, module.SlaposMaster(url, transport, identity))
