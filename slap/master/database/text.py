"""Documents and times as the database has them: as text."""

import difflib
import heapq
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson

from slap.model.errors import InvalidInput

# Comparing takes the square of the length: of what is known, the words of nearly the same length are compared.
_MAX_COMPARED = 30
_MAX_COMPARED_LENGTH = 200


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")


def to_json(value: object) -> str:
    """One text for equal values: keys sorted, sets as sorted lists. Raises InvalidInput for what JSON cannot keep."""
    try:
        return orjson.dumps(value, default=sorted, option=orjson.OPT_SORT_KEYS).decode()
    except orjson.JSONEncodeError as error:
        raise unstorable(error) from error


def unstorable(error: Exception) -> InvalidInput:
    """What people are told whose value a database or a document cannot keep."""
    return InvalidInput(
        "A value cannot be stored; nothing was changed.",
        str(getattr(error, "orig", error)).strip(),
        "Leave out U+0000 and lone surrogates, and use integers of at most 64 bits.",
    )


def from_json(words: str) -> Any:
    return orjson.loads(words)


def similar_urls(url: str, known: Iterable[str]) -> list[str]:
    """The known URLs that differ in a slip or two. Segments are compared one by one: much of any two URLs is the same."""
    return [each for each in _comparable(url, known) if _is_slip(url.split("/"), each.split("/"))][:3]


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The known words that look like this one, as a sentence; empty when none does."""
    close = difflib.get_close_matches(word, _comparable(word, known), n=3, cutoff=0.5)
    return f"Did you mean {' or '.join(close)}?" if close else ""


def _comparable(word: str, known: Iterable[str]) -> list[str]:
    if len(word) > _MAX_COMPARED_LENGTH:
        return []
    return heapq.nsmallest(_MAX_COMPARED, known, key=lambda each: abs(len(each) - len(word)))


def _is_slip(wanted: Sequence[str], known: Sequence[str]) -> bool:
    pairs = zip(wanted, known, strict=False)
    return len(wanted) == len(known) and all(difflib.get_close_matches(a, [b], cutoff=0.7) or a == b for a, b in pairs)
