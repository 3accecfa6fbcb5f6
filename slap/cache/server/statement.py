"""What an entry is of, as far as a server looks into it: it groups entries, and believes none of them. Pure."""

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from slap.model.cache import (
    ENTRY_TYPE,
    REVOCATION_TYPE,
    SUCCESSION_TYPE,
    Entry,
    Revocation,
    SignedEntry,
    Succession,
)
from slap.model.errors import InvalidInput

Statement = Entry | Revocation | Succession
_KINDS: Mapping[str, type[Statement]] = {
    ENTRY_TYPE: Entry,
    REVOCATION_TYPE: Revocation,
    SUCCESSION_TYPE: Succession,
}
_LONGEST_KEY = 200


@dataclass(frozen=True)
class StoredEntry:
    """A document, ready to be stored. `group` is equal for those of which, of one writer, a later one takes the place of an
    earlier one."""

    key: str  # the SHA-256 of what it is about
    text: str
    group: str

    @property
    def id(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()[:32]


def parse_signed_entry(body: bytes) -> StoredEntry:
    """A signed envelope as it came; raises InvalidInput for what is none."""
    envelope = parse_envelope(body)
    statement = parse_statement(envelope)
    if not envelope.signatures:
        raise InvalidInput("The envelope is not signed.", "", "Sign it: a cache is for those who can tell by whom.")
    group = [envelope.payload_type, *sorted(each.keyid for each in envelope.signatures)]
    if isinstance(statement, Entry):
        group += [str(statement.kind), statement.platform.model_dump_json(), statement.root, statement.folder]
    return StoredEntry(key_digest(statement.key), envelope.model_dump_json(), "\n".join(group))


def parse_envelope(body: bytes | str) -> SignedEntry:
    try:
        return SignedEntry.model_validate_json(body)
    except ValidationError as error:
        raise InvalidInput(
            "This is no signed envelope.", _words(error), "See docs/reference/cache-server.md."
        ) from None


def parse_statement(envelope: SignedEntry) -> Statement:
    """What an envelope carries, without a look at its signatures."""
    kind = _KINDS.get(envelope.payload_type)
    if kind is None:
        raise InvalidInput(f"{envelope.payload_type!r} is no kind of statement that belongs into a cache.")
    try:
        return kind.model_validate_json(base64.b64decode(envelope.payload, validate=True))
    except ValidationError as error:
        raise InvalidInput("The payload of the envelope is wrong.", _words(error)) from None
    except binascii.Error:
        raise InvalidInput("The payload of the envelope is not in base64.") from None


def parse_slapos_entry(key: str, body: bytes, unsigned: bool) -> StoredEntry:
    """An entry of SlapOS's protocol: [JSON text, signature]."""
    if not key or len(key) > _LONGEST_KEY or not key.isprintable():
        raise InvalidInput(f"{key[:200]!r} is no key.", f"It has at most {_LONGEST_KEY} characters.")
    text, signature = _pair(body)
    about = _object(text)
    if not signature and not unsigned:
        raise InvalidInput(
            "The entry is not signed.",
            "Nobody could tell who made it.",
            "Name signature-private-key-file in [networkcache] of slapos.cfg.",
        )
    about.pop("sha512", None)
    document = json.dumps({"key": key, "entry": [text, signature]})
    return StoredEntry(key_digest(key), document, json.dumps(about, sort_keys=True))


def group_of(space: str, document: str) -> str:
    """The group of a document that was stored."""
    if space == "entry":
        return parse_signed_entry(document.encode()).group
    stored = json.loads(document)
    return parse_slapos_entry(stored["key"], json.dumps(stored["entry"]).encode(), unsigned=True).group


def key_digest(key: str) -> str:
    """By what the entries of a key are found."""
    return hashlib.sha256(key.encode()).hexdigest()


def _pair(body: bytes) -> tuple[str, str]:
    parsed = _json(body)
    if isinstance(parsed, list) and len(parsed) == 2 and isinstance(parsed[0], str) and isinstance(parsed[1], str):
        return parsed[0], parsed[1]
    raise InvalidInput("This is no entry.", "It is a list of two texts: JSON, and its signature in base64.")


def _object(text: str) -> dict[str, Any]:
    parsed = _json(text)
    if not isinstance(parsed, dict):
        raise InvalidInput("The entry says nothing.", "Its first text is a JSON object.")
    return parsed


def _json(text: str | bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise InvalidInput("The entry is no JSON.") from None


def _words(error: ValidationError) -> str:
    return "\n".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()[:5])
