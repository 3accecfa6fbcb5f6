"""Query all caches for a key in parallel, and verify the entries that they return."""

import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from slap.cache.client.connection import CacheConnection
from slap.cache.client.errors import CacheFailure
from slap.cache.client.settings import Cache
from slap.cache.client.worker import MakeConnection
from slap.cache.trust.cache_key import CacheKey, release_folder
from slap.cache.trust.errors import RejectedStatement, RejectionReason
from slap.cache.trust.key_statements import apply_key_statement
from slap.cache.trust.slapos_entry import VerifiedSlaposEntry, verify_slapos_entry
from slap.cache.trust.store import TrustStore
from slap.cache.trust.verify import VerifiedEntry, verify
from slap.model.cache import ENTRY_TYPE, EntryKind, KeyId, SignedEntry
from slap.model.errors import SlapError

# All caches together have so long to say what they have.
LOOKUP_TIMEOUT_SECONDS = 1.5
# Seconds after which nothing more is asked that the answer does not depend on.
_OPTIONAL_SECONDS = 0.5


@dataclass(frozen=True)
class FoundEntry:
    """A verified entry, and the caches that have it."""

    verified: VerifiedEntry
    caches: tuple[Cache, ...]


@dataclass(frozen=True)
class FoundSlaposEntry:
    """A verified entry of a cache that has only SlapOS's protocol."""

    verified: VerifiedSlaposEntry
    cache: Cache


@dataclass(frozen=True)
class LookupResult:
    """Verified entries, the newest first, why others were rejected, and which caches failed."""

    found: tuple[FoundEntry, ...] = ()
    former: tuple[FoundSlaposEntry, ...] = ()
    refused: tuple[str, ...] = ()
    troubles: tuple[CacheFailure, ...] = ()
    notices: tuple[str, ...] = ()  # what keys said of themselves
    has_untrusted_signer: bool = False  # whether something is signed by a key that is not trusted here


@dataclass
class _CacheAnswer:
    """The unverified answer of one cache."""

    entries: tuple[SignedEntry, ...] = ()
    notices: tuple[SignedEntry, ...] = ()
    former: tuple[tuple[str, str], ...] = ()
    error: str = "It did not answer in time."
    is_complete: bool = False


Tell = Callable[[_CacheAnswer], None]


@dataclass
class _Verdicts:
    found: dict[str, VerifiedEntry] = field(default_factory=dict)  # by the digest of the statement
    shown: dict[str, list[Cache]] = field(default_factory=dict)
    refused: dict[str, None] = field(default_factory=dict)
    notices: dict[str, None] = field(default_factory=dict)
    has_untrusted_signer: bool = False


def find_entries(cache_key: CacheKey, caches: Sequence[Cache], make: MakeConnection, trust: TrustStore) -> LookupResult:
    """Ask all caches. A notice that a key is revoked counts before the entries of that key: no entry of a cache counts
    before it told what it has of the entry's signers."""
    told = _ask_all(caches, make, lambda mirror, tell: _ask(mirror, cache_key, trust, tell))
    judged = _Verdicts()
    for each in told.values():
        for notice in each.notices:
            _apply_key_statement(notice, trust, cache_key.now, judged)
    for cache, each in told.items():
        for signed in each.entries:
            _verify_entry(signed, cache, trust, cache_key, judged)
    former = [
        each for cache, words in told.items() for each in _verify_slapos_entries(words, cache, trust, cache_key, judged)
    ]
    best = sorted(judged.found, key=lambda digest: judged.found[digest].entry.version, reverse=True)
    return LookupResult(
        tuple(FoundEntry(judged.found[digest], tuple(judged.shown[digest])) for digest in best),
        tuple(former),
        tuple(judged.refused),
        tuple(CacheFailure(cache, each.error) for cache, each in told.items() if not each.is_complete),
        tuple(judged.notices),
        judged.has_untrusted_signer,
    )


def _ask_all(
    caches: Sequence[Cache], make: MakeConnection, ask: Callable[[CacheConnection, Tell], None]
) -> dict[Cache, _CacheAnswer]:
    """Query each cache in its own thread; connections of late caches are closed without waiting for their threads."""
    told = {cache: _CacheAnswer() for cache in caches}
    mirrors = [make(cache) for cache in caches]

    def work(mirror: CacheConnection) -> None:
        def tell(answer: _CacheAnswer) -> None:
            if not is_late.is_set() and not (answer.error and told[mirror.cache].is_complete):
                told[mirror.cache] = answer

        try:
            ask(mirror, tell)
        except SlapError as error:
            tell(_CacheAnswer(error=error.brief))

    is_late = threading.Event()
    threads = [threading.Thread(target=work, args=(mirror,), name="lookup", daemon=True) for mirror in mirrors]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + LOOKUP_TIMEOUT_SECONDS
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    is_late.set()
    for mirror in mirrors:
        mirror.line.cut()
    return dict(told)


def _ask(mirror: CacheConnection, cache_key: CacheKey, trust: TrustStore, tell: Tell) -> None:
    """What it says counts as soon as it said what the signers say of themselves. Of other keys something may be new too."""
    began = time.monotonic()
    former: tuple[tuple[str, str], ...] = ()
    if cache_key.kind is EntryKind.RELEASE and trust.former():
        former = mirror.slapos_entries(release_folder(cache_key.key))
    entries = mirror.entries(cache_key.key)
    signers, others = _keys(entries, trust)
    notices = [each for key in signers for each in _key_statements(mirror, key)]
    tell(_CacheAnswer(entries, tuple(notices), former, "", is_complete=True))
    for key in others:
        if time.monotonic() - began > _OPTIONAL_SECONDS:
            return
        notices += _key_statements(mirror, key)
        tell(_CacheAnswer(entries, tuple(notices), former, "", is_complete=True))


def _keys(entries: Sequence[SignedEntry], trust: TrustStore) -> tuple[list[KeyId], list[KeyId]]:
    """The trusted keys that seem to have signed, with those that named them; and all others, each time in another order,
    so that in time all of them are asked about. When a stranger signed, those come first that may name a successor."""
    trusted = {each.key.id: each for each in trust.trusted()}
    seem = {signature.keyid for each in entries for signature in each.signatures}
    signers: dict[KeyId, None] = {}
    for key in seem:
        while key in trusted and key not in signers:
            signers[key] = None
            key = trusted[key].because
    others = [key for key in trusted if key not in signers and not trust.revoked_key(key)]
    random.shuffle(others)
    if not seem <= trusted.keys():
        others.sort(key=lambda key: not trusted[key].follows or trusted[key].retired_at is not None)
    return list(signers), others


def _key_statements(mirror: CacheConnection, key: KeyId) -> list[SignedEntry]:
    return [each for each in mirror.entries(key) if each.payload_type != ENTRY_TYPE]


def _apply_key_statement(notice: SignedEntry, trust: TrustStore, now: float, judged: _Verdicts) -> None:
    try:
        if words := apply_key_statement(notice, trust, now):
            judged.notices[words] = None
    except RejectedStatement as refused:
        judged.refused[refused.brief] = None


def _verify_entry(signed: SignedEntry, cache: Cache, trust: TrustStore, cache_key: CacheKey, judged: _Verdicts) -> None:
    if signed.payload_type != ENTRY_TYPE:
        return
    try:
        verified = verify(signed, trust, cache_key)
    except RejectedStatement as refused:
        judged.refused[refused.brief] = None
        judged.has_untrusted_signer |= refused.reason is RejectionReason.UNKNOWN_KEY
        return
    judged.found[verified.digest] = verified
    judged.shown.setdefault(verified.digest, []).append(cache)


def _verify_slapos_entries(
    told: _CacheAnswer, cache: Cache, trust: TrustStore, cache_key: CacheKey, judged: _Verdicts
) -> list[FoundSlaposEntry]:
    found = []
    for text, signature in told.former:
        try:
            found.append(FoundSlaposEntry(verify_slapos_entry(text, signature, trust.former(), cache_key), cache))
        except RejectedStatement as refused:
            judged.refused[refused.brief] = None
    return found
