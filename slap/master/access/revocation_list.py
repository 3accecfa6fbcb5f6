"""The signed list of revoked certificates, by which servers other than the master refuse them: an X.509 CRL in PEM."""

import asyncio
import time
from datetime import UTC, datetime

from sqlalchemy import Connection, and_, bindparam, or_, select

from slap.master.access.auth import CallerKind
from slap.master.access.authority import Authorities
from slap.master.database.store import Store
from slap.master.database.tables import certificate, instance, is_living
from slap.master.database.text import now

_CACHE_SECONDS = 5.0


class RevocationLists:
    """Signs the list, and keeps it for some seconds, so that callers who ask often cost nothing."""

    def __init__(self, store: Store, authorities: Authorities) -> None:
        self._store = store
        self._authorities = authorities
        self._lock = asyncio.Lock()
        self._list = ""
        self._expires_at = 0.0  # of time.monotonic

    async def get(self) -> str:
        """The list in PEM: all certificates that have not expired and that the master does not take any more."""
        async with self._lock:
            if time.monotonic() >= self._expires_at:
                authority = await self._authorities.get()
                revoked = await self._store.read_much(_load_revoked)
                self._list = await asyncio.to_thread(authority.sign_revocations, revoked)
                self._expires_at = time.monotonic() + _CACHE_SECONDS
            return self._list


def _load_revoked(connection: Connection) -> list[tuple[int, datetime]]:
    """Serials, and since when: of revoked certificates, and of those whose instance is gone."""
    rows = connection.execute(_REVOKED, {"now": now()})
    return [(int(row.serial, 16), datetime.fromisoformat(row.revoked_at or now()).astimezone(UTC)) for row in rows]


_IS_ORPHAN = and_(
    certificate.c.kind == CallerKind.PARTITION,
    ~select(instance.c.guid).where(instance.c.guid == certificate.c.subject, is_living).exists(),
)
_REVOKED = select(certificate.c.serial, certificate.c.revoked_at).where(
    certificate.c.expires_at > bindparam("now"), or_(certificate.c.revoked_at.is_not(None), _IS_ORPHAN)
)
