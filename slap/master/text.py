"""Documents and times as the database has them: as text."""

import difflib
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import orjson


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")


def to_json(value: object) -> str:
    """One text for equal values: keys sorted, sets as sorted lists."""
    return orjson.dumps(value, default=sorted, option=orjson.OPT_SORT_KEYS).decode()


def from_json(words: str) -> Any:
    return orjson.loads(words)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The known words that look like this one, as a sentence; empty when none does."""
    close = difflib.get_close_matches(word, list(known), n=3, cutoff=0.5)
    return f"Did you mean {' or '.join(close)}?" if close else ""
