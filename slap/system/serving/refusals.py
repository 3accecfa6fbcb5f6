"""Counts of what a server refused: totals for its health page, and a line in its log once a minute."""

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

log = logging.getLogger(__name__)

_INTERVAL_SECONDS = 60.0
_MAX_ADDRESSES = 1000

CallLater = Callable[[float, Callable[[], None]], Any]


class Refusal(StrEnum):
    """Why a connection was closed or a request refused."""

    NO_DESCRIPTORS = "no-descriptors"
    TOO_MANY_CONNECTIONS = "too-many-connections"
    TOO_MANY_UNKNOWN = "too-many-unknown-callers"
    TOO_MANY_OF_ADDRESS = "too-many-of-one-address"
    TOO_MANY_OF_CALLER = "too-many-of-one-caller"
    SLOW_HEADERS = "slow-headers"
    LARGE_HEADERS = "large-headers"
    SLOW_BODY = "slow-body"
    LARGE_BODY = "large-body"
    MANY_VALUES = "too-many-values"
    UNKNOWN_BODY = "body-of-unknown-caller"
    NO_BODY_ROOM = "no-room-for-body"
    SLOW_READER = "slow-reader"
    UNSENT_ANSWERS = "unsent-answers"
    MANY_ANSWERS = "too-many-large-answers"
    PIPELINED = "too-many-pipelined"
    MALFORMED = "malformed"
    INVALID = "invalid-document"
    FAILED_HANDSHAKE = "failed-handshake"


class Refusals:
    """Counts refusals. The first one is logged at once, all later ones once an interval."""

    def __init__(self) -> None:
        self.totals: Counter[Refusal] = Counter()
        self._recent: Counter[Refusal] = Counter()
        self._addresses: Counter[str] = Counter()
        self._is_waiting = False

    def add(self, refusal: Refusal, address: str, call_later: CallLater) -> None:
        """Count one; `call_later` is that of the event loop."""
        self.totals[refusal] += 1
        self._recent[refusal] += 1
        if address in self._addresses or len(self._addresses) < _MAX_ADDRESSES:
            self._addresses[address] += 1
        if not self._is_waiting:
            self._log(call_later)

    def counts(self) -> Mapping[str, int]:
        """Totals since the server started."""
        return {refusal.value: self.totals[refusal] for refusal in Refusal if refusal in self.totals}

    def _log(self, call_later: CallLater) -> None:
        self._is_waiting = bool(self._recent)
        if not self._recent:
            return
        counts = " ".join(f"{refusal}={count}" for refusal, count in sorted(self._recent.items()))
        [(address, count)] = self._addresses.most_common(1)
        log.warning("Refused: %s. Most from %s: %d.", counts, address or "this machine", count)
        self._recent.clear()
        self._addresses.clear()
        call_later(_INTERVAL_SECONDS, lambda: self._log(call_later))
