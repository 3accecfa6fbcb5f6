"""Statements of keys about themselves: revocation and succession. They are accepted from any cache."""

from typing import TypeVar

from pydantic import ValidationError

from slap.cache.trust.envelope import decode_payload, malformed_statement
from slap.cache.trust.errors import RejectedStatement, RejectionReason
from slap.cache.trust.keys import parse_public_key
from slap.cache.trust.signers import signers_of
from slap.cache.trust.store import RevokedKey, TrustedKey, TrustStore
from slap.cache.trust.verify import MAX_CLOCK_SKEW_SECONDS
from slap.model.cache import REVOCATION_TYPE, SUCCESSION_TYPE, KeyId, Revocation, SignedEntry, Succession
from slap.model.errors import InvalidInput

Statement = TypeVar("Statement", Revocation, Succession)


def apply_key_statement(signed: SignedEntry, trust: TrustStore, now: float) -> str:
    """Apply a statement of a trusted key and return what changed, empty if it was known. Raises RejectedStatement."""
    if signed.payload_type == REVOCATION_TYPE:
        return _apply_revocation(signed, trust)
    return _apply_succession(signed, trust, now)


def _apply_revocation(signed: SignedEntry, trust: TrustStore) -> str:
    """Only the key itself may say it. Its word cannot be taken back: a thief of the key would do just that."""
    statement = _parse_statement(Revocation, decode_payload(signed, REVOCATION_TYPE))
    if trust.revoked_key(statement.key):
        return ""
    _find_own_signer(signed, statement.key, trust)
    trust.revoke(RevokedKey(statement.key, statement.at, statement.reason))
    return f"Key {statement.key[:16]} revoked itself: {statement.reason or 'no reason given'}"


def _apply_succession(signed: SignedEntry, trust: TrustStore, now: float) -> str:
    """The first successor counts, and only where the operator lets the key name one. It may sign what the key might."""
    statement = _parse_statement(Succession, decode_payload(signed, SUCCESSION_TYPE))
    signer = _find_own_signer(signed, statement.key, trust)
    if signer.retired_at is not None:
        return ""
    if not signer.follows:
        raise RejectedStatement(
            RejectionReason.LIMITED_KEY, f"Key {signer.key.id[:16]} names a successor, which it may not here.",
            f"The successor would be: {statement.successor}", "If that is right, trust it: slapos cache trust.",
        )  # fmt: skip
    if statement.at > now + MAX_CLOCK_SKEW_SECONDS:
        raise RejectedStatement(
            RejectionReason.FROM_THE_FUTURE, "A key names its successor in the future.", "Check the clocks of both."
        )
    return _replace_key(signer, statement, trust)


def _replace_key(signer: TrustedKey, statement: Succession, trust: TrustStore) -> str:
    try:
        successor = parse_public_key(statement.successor)
    except InvalidInput as error:
        raise malformed_statement("the successor is no key") from error
    if successor.id == signer.key.id or trust.revoked_key(successor.id):
        raise RejectedStatement(
            RejectionReason.REVOKED_KEY, f"Key {signer.key.id[:16]} names a successor that cannot be one."
        )
    known = trust.find(successor.id)  # whom the operator trusts already stays trusted as the operator said
    heir = known or TrustedKey(successor, signer.urls, signer.follows, because=signer.key.id)
    trust.succeed(signer.key.id, heir, statement.at)
    return f"Key {signer.key.id[:16]} is replaced by {successor.id[:16]}"


def _find_own_signer(signed: SignedEntry, key: KeyId, trust: TrustStore) -> TrustedKey:
    """The trusted key that speaks of itself here."""
    for signer in signers_of(signed, trust):
        if signer.key.id == key:
            return signer
    raise RejectedStatement(
        RejectionReason.BAD_SIGNATURE, "A key speaks of another one.", "Keys revoke and replace only themselves."
    )


def _parse_statement(kind: type[Statement], payload: bytes) -> Statement:
    try:
        return kind.model_validate_json(payload)
    except ValidationError as error:
        raise malformed_statement(f"{error.error_count()} fields are wrong") from error
