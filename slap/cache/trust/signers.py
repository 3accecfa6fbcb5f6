"""Find the trusted keys that signed a statement, and check what each of them may sign."""

from urllib.parse import unquote, urlsplit

from slap.cache.trust.envelope import is_signed_by, signatures_of
from slap.cache.trust.errors import RejectedStatement, RejectionReason
from slap.cache.trust.store import TrustedKey, TrustStore
from slap.model.cache import Entry, EntryKind, KeyId, Signature, SignedEntry

_LISTS = "slapos cache trust lists the keys that are trusted here, and adds one."


def signers_of(signed: SignedEntry, trust: TrustStore) -> tuple[TrustedKey, ...]:
    """The trusted keys that truly signed it, at least one.

    Signatures of others do not count, neither for nor against it; when none counts, the first objection is raised.
    """
    found, objections = [], []
    for signature in signatures_of(signed):
        try:
            found.append(_verify_signature(signature, signed, trust))
        except RejectedStatement as refused:
            objections.append(refused)
    if not found:
        raise min(objections, key=lambda each: each.reason is RejectionReason.UNKNOWN_KEY)
    return tuple(found)


def check_limits(signer: TrustedKey, entry: Entry) -> None:
    """Raise RejectedStatement when the operator does not let this key sign this entry."""
    if not signer.urls:
        return
    if entry.kind is not EntryKind.RELEASE or not any(_is_below(entry.key, url) for url in signer.urls):
        raise RejectedStatement(
            RejectionReason.LIMITED_KEY, f"Key {signer.key.id[:16]} may not sign this.",
            f"It may sign releases below {', '.join(signer.urls)}; this is the {entry.kind} {entry.key}.", _LISTS,
        )  # fmt: skip


def check_retired(signer: TrustedKey, version: int) -> None:
    """Raise RejectedStatement when the key was replaced before it signed this version."""
    if signer.retired_at is not None and version > signer.retired_at:
        raise RejectedStatement(
            RejectionReason.REPLACED_KEY, f"Key {signer.key.id[:16]} was replaced before it signed this.",
            "It named a successor, which should have signed.", _LISTS,
        )  # fmt: skip


def _verify_signature(signature: Signature, signed: SignedEntry, trust: TrustStore) -> TrustedKey:
    key = trust.find(signature.keyid)
    check_not_revoked(signature.keyid, key, trust)
    if key is None:
        raise RejectedStatement(
            RejectionReason.UNKNOWN_KEY, f"An entry is signed by key {signature.keyid[:16]}, which is not trusted here.",
            "", _LISTS,
        )  # fmt: skip
    if not is_signed_by(signature, key.key, signed):
        raise RejectedStatement(
            RejectionReason.BAD_SIGNATURE, f"The signature of key {key.key.id[:16]} does not fit what it is on.",
            "The statement or its signature was changed on the way.",
        )  # fmt: skip
    return key


def check_not_revoked(key: KeyId, trusted: TrustedKey | None, trust: TrustStore) -> None:
    """Nor one that is trusted only because a key that was revoked named it, over however many steps."""
    passed: set[KeyId] = set()
    while key and key not in passed:
        if revoked := trust.revoked_key(key):
            words = "named the key that signed an entry, and" if passed else "signed an entry, and"
            raise RejectedStatement(
                RejectionReason.REVOKED_KEY, f"Key {key[:16]} {words} was revoked.", revoked.reason, _LISTS
            )
        passed.add(key)
        key = trusted.because if trusted else ""
        trusted = trust.find(key) if key else None


def _is_below(url: str, limit: str) -> bool:
    """Whether a URL is a limit, or in the folder that the limit names: no way around by `..` or a longer host."""
    steps = unquote(urlsplit(url).path).split("/")
    return ".." not in steps and (url == limit or url.startswith(f"{limit.rstrip('/')}/"))
