"""A master to talk to, over the newest protocol that it offers."""

import importlib
from collections.abc import Callable
from typing import Any, cast

from slap.client.credentials import Credentials
from slap.client.identity import Speaker
from slap.client.master import Master
from slap.client.native import Foreign, NativeMaster
from slap.model.errors import Unreachable
from slap.system.transport import Transport


def connect(
    url: str, credentials: Credentials, transport: Transport | None = None, speaker: Speaker | None = None
) -> Master:
    """The master at `url`. Use it in one thread only. A `speaker` says so where the credentials do not name it."""
    way = transport or credentials.transport()
    return cast(Master, _Either(NativeMaster(url, credentials.token, way), lambda: _classic(url, way, speaker)))


class _Either:
    """Speaks our own protocol, until the answer shows that the other side does not know it; then SlapOS's classic one.

    So it costs a master of ours nothing, and another one a single request that it refuses. What was found out is
    remembered until the master is away: another one may come back.
    """

    def __init__(self, native: NativeMaster, make_classic: Callable[[], Master]) -> None:
        self._native = native
        self._make_classic = make_classic
        self._classic: Master | None = None
        self._is_classic = False

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_"):
            raise AttributeError(name)
        return lambda *given, **named: self._ask(name, *given, **named)

    def _ask(self, name: str, *given: Any, **named: Any) -> Any:
        if not self._is_classic:
            try:
                return getattr(self._native, name)(*given, **named)
            except Foreign:
                self._classic = self._classic or self._make_classic()
        self._is_classic = True
        try:
            return getattr(self._classic, name)(*given, **named)
        except Unreachable:
            self._is_classic = False
            raise


def _classic(url: str, transport: Transport, speaker: Speaker | None) -> Master:
    """Loaded when it is needed: most commands never speak it, and each pays for what it loads."""
    module = importlib.import_module("slap.client.slapos.master")
    return cast(Master, module.ClassicMaster(url, transport, speaker))
