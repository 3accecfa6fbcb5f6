"""Quotas: how much each user may have in the database of what can be created without end.

A job that creates something calls `Quotas.take` in its transaction. That costs no query as a rule: what a user has is
counted once in a while, and what is created meanwhile is added. Nothing is refused by such an estimate: what a user has is
counted before. With several processes each has its own estimate, so a limit may be passed by what the others made since.
"""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydantic import Field
from sqlalchemy import Connection, Select, bindparam, func, literal_column, select

from slap.master.database.tables import certificate, computer, instance, is_living, registration, supply
from slap.model.base import Frozen
from slap.model.errors import QuotaExceeded

_ESTIMATE_SECONDS = 300.0
_RECOUNT_SECONDS = 1.0  # of what is used up: whoever is refused may ask again at once, and as often as he likes
_MAX_KNOWN = 20_000
_NO_LIMIT = 0


class Quota(StrEnum):
    """What is limited; the value names the limit in QuotaSettings."""

    INSTANCES = "quota_instances"
    BYTES = "quota_bytes"
    SUPPLIES = "quota_supplies"
    COMPUTERS = "quota_computers"
    TOKENS = "quota_registration_tokens"
    CERTIFICATES = "quota_certificates"


class QuotaSettings(Frozen):
    """What each user may have; 0 is without limit."""

    quota_instances: int = Field(default=20_000, ge=0)
    quota_bytes: int = Field(default=256 << 20, ge=0)  # characters of parameters and connections of instances
    quota_supplies: int = Field(default=20_000, ge=0)
    quota_computers: int = Field(default=5_000, ge=0)
    quota_registration_tokens: int = Field(default=5_000, ge=0)
    quota_certificates: int = Field(default=20_000, ge=0)  # of one holder
    quota_exempt: frozenset[str] = frozenset()  # users without limits


_WORDS = {
    Quota.INSTANCES: ("instances", "Destroy some: slapos service destroy NAME"),
    Quota.BYTES: ("bytes of parameters and connection parameters", "Make some smaller, or destroy instances"),
    Quota.SUPPLIES: ("supplies of software releases, removed ones included", "Use those that there are"),
    Quota.COMPUTERS: ("computers", "Register one of them anew: slapos node register NAME --replace"),
    Quota.TOKENS: (
        "registration tokens that are neither used nor expired",
        "Use one of them, or wait until some expire",
    ),
    Quota.CERTIFICATES: ("certificates that have not expired", "Use one of them, or wait until some expire"),
}


@dataclass
class _Use:
    """What a user had when it was counted, and what was added since."""

    counted: int
    at: float
    added: int = 0

    def is_good(self, now: float, room: int) -> bool:
        """Whether this decides if there is room. What was added may have failed, so it does not say that there is none."""
        if self.counted + self.added <= room:
            return now - self.at < _ESTIMATE_SECONDS
        return not self.added and now - self.at < _RECOUNT_SECONDS


class Quotas:
    """What users have, as far as it is known, and what was refused."""

    def __init__(self, settings: QuotaSettings | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.settings = settings or QuotaSettings()
        self.refused: Counter[str] = Counter()
        self._clock = clock
        self._known: dict[tuple[Quota, str], _Use] = {}

    def take(self, connection: Connection, quota: Quota, owner: str, more: int = 1, holder: str = "") -> None:
        """Note that a user is given more; raises QuotaExceeded. `holder` is whose certificate it is."""
        limit: int = getattr(self.settings, quota)
        if limit == _NO_LIMIT or owner in self.settings.quota_exempt:
            return
        who = (quota, holder or owner)
        use = self._known.get(who)
        if use is None or not use.is_good(self._clock(), limit - more):
            if len(self._known) > _MAX_KNOWN:
                self._known.clear()
            use = self._known[who] = _Use(_count(connection, quota, who[1]), self._clock())
        if use.counted + use.added + more > limit:
            self.refused[quota] += 1
            raise _exceeded(quota, who[1], use.counted, limit)
        use.added += more


def _exceeded(quota: Quota, who: str, used: int, limit: int) -> QuotaExceeded:
    what, way = _WORDS[quota]
    return QuotaExceeded(
        f"{who} may have {limit} {what}.",
        f"There are {used}; nothing was changed.",
        f"{way}; or have who runs the master raise {quota}.",
    )


def _count(connection: Connection, quota: Quota, who: str) -> int:
    return sum(connection.execute(query, {"who": who}).scalar() or 0 for query in _QUERIES[quota])


_KINDS = ("user", "computer", "partition")  # of holders: the index begins with them
# Each by an index. Shared instances are served by instances of the same user, or by none (host "") when those are gone.
_own = (instance.c.owner == bindparam("who"), instance.c.host.is_(None), is_living)
_host = instance.alias("host_row")
_abandoned = (instance.c.host == "", instance.c.owner == bindparam("who"), is_living)
_size = func.sum(func.length(instance.c.parameters) + func.length(instance.c.connection))
_QUERIES: dict[Quota, tuple[Select[Any], ...]] = {
    Quota.INSTANCES: (
        select(func.count() + func.coalesce(func.sum(instance.c.serving), 0)).where(*_own),
        select(func.count()).select_from(instance).where(*_abandoned),
    ),
    Quota.BYTES: (
        select(_size).where(*_own),
        select(_size)
        .join_from(_host, instance, instance.c.host == _host.c.guid)
        .where(
            _host.c.owner == bindparam("who"), _host.c.host.is_(None), _host.c.reported != literal_column("'destroyed'")
        )
        .where(is_living),
        select(_size).where(*_abandoned),
    ),
    Quota.SUPPLIES: (select(func.count()).join_from(supply, computer).where(computer.c.owner == bindparam("who")),),
    Quota.COMPUTERS: (select(func.count()).select_from(computer).where(computer.c.owner == bindparam("who")),),
    Quota.TOKENS: (
        select(func.count())
        .select_from(registration)
        .where(registration.c.owner == bindparam("who"), registration.c.used_at.is_(None)),
    ),
    Quota.CERTIFICATES: (
        select(func.count())
        .select_from(certificate)
        .where(certificate.c.kind.in_(_KINDS), certificate.c.subject == bindparam("who")),
    ),
}
