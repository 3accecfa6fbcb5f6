"""Whether an entry may be taken: signed by whom the operator trusts, an answer to the question, and not a stale one.

The rules are those of TUF (The Update Framework) against rollback, freeze, mix-and-match and endless data; see
docs/explanation/cache-trust.md. All of it comes before a byte of what the entry names is fetched.
"""

import hashlib
import time
from dataclasses import dataclass

from pydantic import ValidationError

from slap.cache.trust.cache_key import Question
from slap.cache.trust.envelope import malformed, payload_of
from slap.cache.trust.errors import Reason, Refused
from slap.cache.trust.keys import PublicKey
from slap.cache.trust.signers import check_limits, check_retired, signers_of
from slap.cache.trust.store import SeenEntry, TrustedKey, TrustStore
from slap.model.cache import ENTRY_TYPE, Entry, SignedEntry

DAY = 86_400
SKEW = 600  # seconds that clocks may differ
# No entry is good for longer than this, whatever it says: this is how long a mirror can withhold a revocation.
LONGEST_LIFE = 400 * DAY


@dataclass(frozen=True)
class Verified:
    """An entry that may be taken, and whose word that is."""

    entry: Entry
    key: PublicKey
    digest: str  # of the statement


def verify(signed: SignedEntry, trust: TrustStore, question: Question) -> Verified:
    """The entry, when it breaks no rule; raises Refused with the reason of the first one that it breaks.

    Changes nothing: who takes the entry then calls `remember`.
    """
    payload = payload_of(signed, ENTRY_TYPE)
    signers = signers_of(signed, trust)
    entry = _read(payload)
    check_answers(entry, question)
    check_time(entry, question.now)
    found = Verified(entry, signers[0].key, hashlib.sha256(payload).hexdigest())
    return _by_one_of(signers, found, trust, question)


def remember(verified: Verified, trust: TrustStore, question: Question) -> None:
    """From now on this signer's older answers to this question are refused."""
    trust.note(question.id, verified.key.id, SeenEntry(verified.entry.version, verified.digest))


def check_answers(entry: Entry, question: Question) -> None:
    """All that the statement binds is as asked: no other thing, place, or kind of machine."""
    for reason, what, found, wanted in _compared(entry, question):
        if found != wanted:
            raise Refused(reason, f"An entry is {what}.", f"It is for {found}; asked was {wanted}.")


def check_time(entry: Entry, now: float) -> None:
    """Neither too old to be sure that nothing better came, nor from a day that has not come."""
    expires = min(entry.expires_at, entry.version + LONGEST_LIFE)
    if max(entry.version, entry.built_at) > now + SKEW:
        raise Refused(
            Reason.FROM_THE_FUTURE, "An entry was signed in the future.",
            f"It says {_day(max(entry.version, entry.built_at))}; here it is {_day(now)}.", "Check the clocks of both.",
        )  # fmt: skip
    if now >= expires:
        raise Refused(
            Reason.EXPIRED, f"An entry expired on {_day(expires)}.",
            "Its builder does not sign it any more, or the mirror has only old ones.",
            "The builder signs anew with slapos cache push.",
        )  # fmt: skip


def check_not_older(verified: Verified, seen: SeenEntry | None) -> None:
    """A mirror cannot lead back to what the signer has replaced, nor tell two nodes two things under one version."""
    version = verified.entry.version
    if seen and version < seen.version:
        raise Refused(
            Reason.ROLLBACK, "An entry is older than one that was seen before.",
            f"It was signed on {_day(version)}; the other on {_day(seen.version)}. The mirror is behind, or leads back.",
        )  # fmt: skip
    if seen and version == seen.version and verified.digest != seen.digest:
        raise Refused(Reason.TWO_FACED, "A signer made two different entries of one version.", f"Version {version}.")


def _by_one_of(signers: tuple[TrustedKey, ...], found: Verified, trust: TrustStore, question: Question) -> Verified:
    """The entry as the word of the first signer whose word it may be; raises what speaks against the first one."""
    objections = []
    for signer in signers:
        candidate = Verified(found.entry, signer.key, found.digest)
        try:
            check_limits(signer, found.entry)
            check_retired(signer, found.entry.version)
            check_not_older(candidate, trust.highest(question.id, signer.key.id))
        except Refused as refused:
            objections.append(refused)
        else:
            return candidate
    raise objections[0]


def _compared(entry: Entry, question: Question) -> list[tuple[Reason, str, str, str]]:
    ours, theirs = question.platform, entry.platform
    return [
        (Reason.OTHER_KIND, "of another kind", entry.kind, question.kind),
        (Reason.OTHER_KEY, "of another release or part", entry.key, question.key),
        (Reason.OTHER_ROOT, "for another software root", entry.root, question.root),
        (Reason.OTHER_ROOT, "for another folder", entry.folder, question.name),
        (Reason.OTHER_MACHINE, "for another architecture", theirs.machine, ours.machine),
        (Reason.OTHER_OS, "for another operating system", theirs.os, ours.os),
        (Reason.OTHER_OS, "for another version of the system", theirs.version, ours.version),
        (Reason.OTHER_LIBC, "for another libc", theirs.libc, ours.libc),
        (Reason.OTHER_PYTHON, "for another Python", theirs.python, ours.python),
    ]


def _read(payload: bytes) -> Entry:
    try:
        return Entry.model_validate_json(payload)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise malformed(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def _day(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))
