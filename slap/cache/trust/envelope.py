"""DSSE: what is signed is the type of a payload and its bytes, exactly as they travel."""

import binascii
import json
from base64 import b64decode, b64encode

from pydantic import ValidationError

from slap.cache.trust.errors import RejectedStatement, RejectionReason
from slap.cache.trust.keys import PublicKey, SigningKey
from slap.model.base import Frozen
from slap.model.cache import LARGEST_ENVELOPE, LARGEST_PAYLOAD, MOST_SIGNATURES, Signature, SignedEntry
from slap.model.errors import InvalidInput

_SIGNATURE_SIZE = 64


def pae(payload_type: str, payload: bytes) -> bytes:
    """The pre-authentication encoding of DSSE: lengths and contents, so that nothing can be read in two ways."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def sign_statement(payload_type: str, statement: Frozen, *keys: SigningKey) -> SignedEntry:
    """A statement, signed by each of the keys. Raises InvalidInput for one that no reader would take for its size."""
    document = statement.model_dump(mode="json")
    payload = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    if len(payload) > LARGEST_PAYLOAD:
        raise InvalidInput(f"A statement of {len(payload)} bytes is too large.", f"Limit: {LARGEST_PAYLOAD} bytes.")
    signatures = tuple(_signature(key, pae(payload_type, payload)) for key in keys)
    return SignedEntry(payload=b64encode(payload).decode(), payload_type=payload_type, signatures=signatures)


def parse_envelope(text: bytes | str) -> SignedEntry:
    """An envelope as it came from the network; it proves nothing yet. Raises RejectedStatement for anything else."""
    if len(text) > LARGEST_ENVELOPE:
        raise RejectedStatement(
            RejectionReason.TOO_LARGE, f"A signed statement has more than {LARGEST_ENVELOPE} bytes."
        )
    try:
        return SignedEntry.model_validate_json(text)
    except ValidationError as error:
        raise malformed_statement(f"{error.error_count()} fields are wrong: {_first(error)}") from error


def decode_payload(signed: SignedEntry, payload_type: str) -> bytes:
    """The bytes that were signed, as a statement of this type; nothing is known yet of who signed them."""
    if signed.payload_type != payload_type:
        raise RejectedStatement(
            RejectionReason.WRONG_TYPE, "A signed statement is of another type.",
            f"Expected {payload_type}, found {signed.payload_type[:100]!r}.",
        )  # fmt: skip
    payload = decode_base64(signed.payload)
    if len(payload) > LARGEST_PAYLOAD:
        raise RejectedStatement(RejectionReason.TOO_LARGE, f"A signed statement has more than {LARGEST_PAYLOAD} bytes.")
    return payload


def signatures_of(signed: SignedEntry) -> tuple[Signature, ...]:
    """The signatures: some, not too many, and no key twice."""
    ids = {each.keyid for each in signed.signatures}
    if not signed.signatures:
        raise RejectedStatement(RejectionReason.UNSIGNED, "A statement has no signature.")
    if len(signed.signatures) > MOST_SIGNATURES:
        raise RejectedStatement(RejectionReason.TOO_LARGE, f"A statement has more than {MOST_SIGNATURES} signatures.")
    if len(ids) < len(signed.signatures):
        raise malformed_statement("one key signed twice")
    return signed.signatures


def is_signed_by(signature: Signature, key: PublicKey, signed: SignedEntry) -> bool:
    """Whether the signature is of this key, over this type and payload. Raises RejectedStatement when it cannot be read."""
    raw = decode_base64(signature.sig)
    if len(raw) != _SIGNATURE_SIZE:
        raise malformed_statement(f"a signature has {len(raw)} bytes instead of {_SIGNATURE_SIZE}")
    return signature.keyid == key.id and key.verifies(raw, pae(signed.payload_type, decode_base64(signed.payload)))


def decode_base64(text: str) -> bytes:
    """Base64 in its one canonical form: of two different texts, at most one is taken for some bytes."""
    try:
        raw = b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise malformed_statement("something is not in base64") from None
    if b64encode(raw).decode() != text:
        raise malformed_statement("base64 is not in its canonical form")
    return raw


def malformed_statement(what: str) -> RejectedStatement:
    return RejectedStatement(RejectionReason.MALFORMED, "A signed statement is malformed.", f"Cause: {what[:300]}.")


def _signature(key: SigningKey, message: bytes) -> Signature:
    return Signature(keyid=key.public.id, sig=b64encode(key.sign(message)).decode())


def _first(error: ValidationError) -> str:
    """Where it is wrong and why, without what a stranger wrote there."""
    found = error.errors(include_input=False, include_url=False)[0]
    return f"{'.'.join(map(str, found['loc']))[:100]} ({found['msg']})"
