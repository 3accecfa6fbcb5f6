"""What holders of keys say: entries, that a key is revoked, and which key takes its place."""

from slap.cache.trust.envelope import sign_statement
from slap.cache.trust.keys import PublicKey, SigningKey
from slap.model.cache import (
    ENTRY_TYPE,
    REVOCATION_TYPE,
    SUCCESSION_TYPE,
    Entry,
    Revocation,
    SignedEntry,
    Succession,
)

DAY = 86_400
# How long an entry is good for when its builder says nothing else. Builders sign anew what is still in use.
LIFETIME = 90 * DAY


def sign_entry(entry: Entry, key: SigningKey, *others: SigningKey) -> SignedEntry:
    """An entry for the cache. While one key takes the place of another, both sign."""
    return sign_statement(ENTRY_TYPE, entry, key, *others)


def sign_revocation(key: SigningKey, now: float, reason: str = "") -> SignedEntry:
    """The key's own word that nobody shall trust it any more."""
    return sign_statement(REVOCATION_TYPE, Revocation(key=key.public.id, at=int(now), reason=reason), key)


def sign_succession(key: SigningKey, successor: PublicKey, now: float) -> SignedEntry:
    """The key's word that from now on another one signs in its place."""
    statement = Succession(key=key.public.id, successor=successor.line, at=int(now))
    return sign_statement(SUCCESSION_TYPE, statement, key)


def renew_entry(entry: Entry, now: float, lifetime: float = LIFETIME) -> Entry:
    """The same entry as of now: of a higher version than before, and good for another while."""
    version = max(int(now), entry.version + 1)
    return entry.model_copy(update={"version": version, "expires_at": int(now + lifetime)})
