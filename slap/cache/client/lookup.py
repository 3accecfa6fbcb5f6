"""What caches have for a question: all of them are asked at once, and what they say is verified before it counts."""

import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from slap.cache.client.connection import Mirror
from slap.cache.client.errors import Trouble
from slap.cache.client.settings import Cache
from slap.cache.client.worker import MakeMirror
from slap.cache.trust.cache_key import Question, release_folder
from slap.cache.trust.errors import Reason, Refused
from slap.cache.trust.key_statements import absorb
from slap.cache.trust.slapos_entry import FormerVerified, verify_former
from slap.cache.trust.store import TrustStore
from slap.cache.trust.verify import Verified, verify
from slap.model.cache import ENTRY_TYPE, EntryKind, KeyId, SignedEntry
from slap.model.errors import SlapError

# All caches together have so long to say what they have.
PATIENCE = 1.5
# Seconds after which nothing more is asked that the answer does not depend on.
_UNHURRIED = 0.5


@dataclass(frozen=True)
class Found:
    """An entry that may be taken, and the caches that showed it."""

    verified: Verified
    caches: tuple[Cache, ...]


@dataclass(frozen=True)
class FoundFormer:
    """The same of a cache that speaks SlapOS's protocol."""

    verified: FormerVerified
    cache: Cache


@dataclass(frozen=True)
class Lookup:
    """What came of asking: entries to take, the best first, why others were refused, and which caches failed."""

    found: tuple[Found, ...] = ()
    former: tuple[FoundFormer, ...] = ()
    refused: tuple[str, ...] = ()
    troubles: tuple[Trouble, ...] = ()
    notices: tuple[str, ...] = ()  # what keys said of themselves
    is_of_strangers: bool = False  # whether something is signed by a key that is not trusted here


@dataclass
class _Told:
    """What one cache said."""

    entries: tuple[SignedEntry, ...] = ()
    notices: tuple[SignedEntry, ...] = ()
    former: tuple[tuple[str, str], ...] = ()
    error: str = "It did not answer in time."
    is_complete: bool = False


Tell = Callable[[_Told], None]


@dataclass
class _Judged:
    found: dict[str, Verified] = field(default_factory=dict)  # by the digest of the statement
    shown: dict[str, list[Cache]] = field(default_factory=dict)
    refused: dict[str, None] = field(default_factory=dict)
    notices: dict[str, None] = field(default_factory=dict)
    is_of_strangers: bool = False


def look_up(question: Question, caches: Sequence[Cache], make: MakeMirror, trust: TrustStore) -> Lookup:
    """Ask all caches. A notice that a key is revoked counts before the entries of that key: no entry of a cache counts
    before it told what it has of the entry's signers."""
    told = _ask_all(caches, make, lambda mirror, tell: _ask(mirror, question, trust, tell))
    judged = _Judged()
    for each in told.values():
        for notice in each.notices:
            _hear(notice, trust, question.now, judged)
    for cache, each in told.items():
        for signed in each.entries:
            _judge(signed, cache, trust, question, judged)
    former = [each for cache, words in told.items() for each in _former(words, cache, trust, question, judged)]
    best = sorted(judged.found, key=lambda digest: judged.found[digest].entry.version, reverse=True)
    return Lookup(
        tuple(Found(judged.found[digest], tuple(judged.shown[digest])) for digest in best),
        tuple(former),
        tuple(judged.refused),
        tuple(Trouble(cache, each.error) for cache, each in told.items() if not each.is_complete),
        tuple(judged.notices),
        judged.is_of_strangers,
    )


def _ask_all(caches: Sequence[Cache], make: MakeMirror, ask: Callable[[Mirror, Tell], None]) -> dict[Cache, _Told]:
    """Each cache in a thread of its own; those that are late are cut off, and nobody waits for their threads."""
    told = {cache: _Told() for cache in caches}
    mirrors = [make(cache) for cache in caches]

    def work(mirror: Mirror) -> None:
        def tell(answer: _Told) -> None:
            if not is_late.is_set() and not (answer.error and told[mirror.cache].is_complete):
                told[mirror.cache] = answer

        try:
            ask(mirror, tell)
        except SlapError as error:
            tell(_Told(error=error.brief))

    is_late = threading.Event()
    threads = [threading.Thread(target=work, args=(mirror,), name="lookup", daemon=True) for mirror in mirrors]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + PATIENCE
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    is_late.set()
    for mirror in mirrors:
        mirror.line.cut()
    return dict(told)


def _ask(mirror: Mirror, question: Question, trust: TrustStore, tell: Tell) -> None:
    """What it says counts as soon as it said what the signers say of themselves. Of other keys something may be new too."""
    began = time.monotonic()
    former: tuple[tuple[str, str], ...] = ()
    if question.kind is EntryKind.RELEASE and trust.former():
        former = mirror.former_entries(release_folder(question.key))
    entries = mirror.entries(question.key)
    signers, others = _keys(entries, trust)
    notices = [each for key in signers for each in _notices(mirror, key)]
    tell(_Told(entries, tuple(notices), former, "", is_complete=True))
    for key in others:
        if time.monotonic() - began > _UNHURRIED:
            return
        notices += _notices(mirror, key)
        tell(_Told(entries, tuple(notices), former, "", is_complete=True))


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


def _notices(mirror: Mirror, key: KeyId) -> list[SignedEntry]:
    return [each for each in mirror.entries(key) if each.payload_type != ENTRY_TYPE]


def _hear(notice: SignedEntry, trust: TrustStore, now: float, judged: _Judged) -> None:
    try:
        if words := absorb(notice, trust, now):
            judged.notices[words] = None
    except Refused as refused:
        judged.refused[refused.brief] = None


def _judge(signed: SignedEntry, cache: Cache, trust: TrustStore, question: Question, judged: _Judged) -> None:
    if signed.payload_type != ENTRY_TYPE:
        return
    try:
        verified = verify(signed, trust, question)
    except Refused as refused:
        judged.refused[refused.brief] = None
        judged.is_of_strangers |= refused.reason is Reason.UNKNOWN_KEY
        return
    judged.found[verified.digest] = verified
    judged.shown.setdefault(verified.digest, []).append(cache)


def _former(told: _Told, cache: Cache, trust: TrustStore, question: Question, judged: _Judged) -> list[FoundFormer]:
    found = []
    for text, signature in told.former:
        try:
            found.append(FoundFormer(verify_former(text, signature, trust.former(), question), cache))
        except Refused as refused:
            judged.refused[refused.brief] = None
    return found
