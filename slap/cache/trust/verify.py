"""Verify an entry: signed by a trusted key, for the requested cache key, and not outdated.

The rules are those of TUF (The Update Framework) against rollback, freeze, mix-and-match and endless data; see
docs/explanation/cache-trust.md. All of it comes before a byte of what the entry names is fetched.
"""

import hashlib
import time
from dataclasses import dataclass

from pydantic import ValidationError

from slap.cache.trust.cache_key import CacheKey
from slap.cache.trust.envelope import decode_payload, malformed_statement
from slap.cache.trust.errors import RejectedStatement, RejectionReason
from slap.cache.trust.keys import PublicKey
from slap.cache.trust.signers import check_limits, check_retired, signers_of
from slap.cache.trust.store import SeenEntry, TrustedKey, TrustStore
from slap.model.cache import ENTRY_TYPE, Entry, SignedEntry

DAY = 86_400
MAX_CLOCK_SKEW_SECONDS = 600  # seconds that clocks may differ
# No entry is good for longer than this, whatever it says: this is how long a mirror can withhold a revocation.
MAX_LIFETIME_SECONDS = 400 * DAY


@dataclass(frozen=True)
class VerifiedEntry:
    """An entry that passed verification, and the key that signed it."""

    entry: Entry
    key: PublicKey
    digest: str  # of the statement


def verify(signed: SignedEntry, trust: TrustStore, cache_key: CacheKey) -> VerifiedEntry:
    """Return the verified entry; raises RejectedStatement with the first rule that it breaks.

    Changes nothing: who takes the entry then calls `remember`.
    """
    payload = decode_payload(signed, ENTRY_TYPE)
    signers = signers_of(signed, trust)
    entry = _parse_entry(payload)
    check_answers(entry, cache_key)
    check_time(entry, cache_key.now)
    found = VerifiedEntry(entry, signers[0].key, hashlib.sha256(payload).hexdigest())
    return _attribute(signers, found, trust, cache_key)


def remember(verified: VerifiedEntry, trust: TrustStore, cache_key: CacheKey) -> None:
    """From now on this signer's older answers to this question are refused."""
    trust.note(cache_key.id, verified.key.id, SeenEntry(verified.entry.version, verified.digest))


def check_answers(entry: Entry, cache_key: CacheKey) -> None:
    """All that the statement binds is as asked: no other thing, place, or kind of machine."""
    for reason, what, found, wanted in _comparisons(entry, cache_key):
        if found != wanted:
            raise RejectedStatement(reason, f"An entry is {what}.", f"It is for {found}; asked was {wanted}.")


def check_time(entry: Entry, now: float) -> None:
    """Neither too old to be sure that nothing better came, nor from a day that has not come."""
    expires = min(entry.expires_at, entry.version + MAX_LIFETIME_SECONDS)
    if max(entry.version, entry.built_at) > now + MAX_CLOCK_SKEW_SECONDS:
        raise RejectedStatement(
            RejectionReason.FROM_THE_FUTURE, "An entry was signed in the future.",
            f"It says {_format_time(max(entry.version, entry.built_at))}; here it is {_format_time(now)}.",
            "Check the clocks of both.",
        )  # fmt: skip
    if now >= expires:
        raise RejectedStatement(
            RejectionReason.EXPIRED, f"An entry expired on {_format_time(expires)}.",
            "Its builder does not sign it any more, or the mirror has only old ones.",
            "The builder signs anew with slapos cache push.",
        )  # fmt: skip


def check_not_older(verified: VerifiedEntry, seen: SeenEntry | None) -> None:
    """A mirror cannot lead back to what the signer has replaced, nor tell two nodes two things under one version."""
    version = verified.entry.version
    if seen and version < seen.version:
        raise RejectedStatement(
            RejectionReason.ROLLBACK, "An entry is older than one that was seen before.",
            f"It was signed on {_format_time(version)}; the other on {_format_time(seen.version)}. "
            "The mirror is behind, or leads back.",
        )  # fmt: skip
    if seen and version == seen.version and verified.digest != seen.digest:
        raise RejectedStatement(
            RejectionReason.TWO_FACED, "A signer made two different entries of one version.", f"Version {version}."
        )


def _attribute(
    signers: tuple[TrustedKey, ...], found: VerifiedEntry, trust: TrustStore, cache_key: CacheKey
) -> VerifiedEntry:
    """The entry as the word of the first signer whose word it may be; raises what speaks against the first one."""
    objections = []
    for signer in signers:
        candidate = VerifiedEntry(found.entry, signer.key, found.digest)
        try:
            check_limits(signer, found.entry)
            check_retired(signer, found.entry.version)
            check_not_older(candidate, trust.highest(cache_key.id, signer.key.id))
        except RejectedStatement as refused:
            objections.append(refused)
        else:
            return candidate
    raise objections[0]


def _comparisons(entry: Entry, cache_key: CacheKey) -> list[tuple[RejectionReason, str, str, str]]:
    ours, theirs = cache_key.platform, entry.platform
    return [
        (RejectionReason.OTHER_KIND, "of another kind", entry.kind, cache_key.kind),
        (RejectionReason.OTHER_KEY, "of another release or part", entry.key, cache_key.key),
        (RejectionReason.OTHER_ROOT, "for another software root", entry.root, cache_key.root),
        (RejectionReason.OTHER_ROOT, "for another folder", entry.folder, cache_key.name),
        (RejectionReason.OTHER_MACHINE, "for another architecture", theirs.machine, ours.machine),
        (RejectionReason.OTHER_OS, "for another operating system", theirs.os, ours.os),
        (RejectionReason.OTHER_OS, "for another version of the system", theirs.version, ours.version),
        (RejectionReason.OTHER_LIBC, "for another libc", theirs.libc, ours.libc),
        (RejectionReason.OTHER_PYTHON, "for another Python", theirs.python, ours.python),
    ]


def _parse_entry(payload: bytes) -> Entry:
    try:
        return Entry.model_validate_json(payload)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise malformed_statement(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def _format_time(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))
