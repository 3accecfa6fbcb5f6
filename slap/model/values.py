"""Values that every part of the project can keep: in JSON and XML, in SQLite and PostgreSQL, in a file and in a terminal.

One judgement for all protocols. A text has no U+0000, which PostgreSQL cannot store, and no lone surrogates, which UTF-8
cannot encode. A number is finite, and an integer has 64 bits at most. Values are of limited depth and size.
"""

import math
import re
from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field, ValidationError, ValidationInfo
from pydantic_core import PydanticCustomError

MAX_INTEGER = 2**63 - 1
MAX_DEPTH = 64  # of objects and lists in each other
MAX_VALUES_SIZE = 1 << 20  # characters of all keys and texts of one set of parameters, and 8 for each value

MAX_LINE_LENGTH = 2000  # characters: URLs, references, labels
MAX_TEXT_LENGTH = 1 << 20
MAX_LARGE_TEXT_LENGTH = 32 << 20
MAX_MESSAGE_LENGTH = 16 << 10
MAX_LOG_LENGTH = 256 << 10

# The context of a validation of what was stored before: it was judged when it came, perhaps by an earlier version.
STORED = {"stored": True}

_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
_NOT_IN_LINES = re.compile("[\0-\x1f\x7f\ud800-\udfff]")
NOT_IN_WORDS = re.compile("[\0-\x1f\x7f/\\\\\ud800-\udfff]")
# Line ends and tabs are none of these; marks that change the direction of what follows are.
_CONTROLS = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_VALUE_SIZE = 8
_MAX_SHOWN = 100

_Place = tuple[str | int, ...]


def unstorable_reason(text: str, max_length: int = MAX_TEXT_LENGTH, forbidden: re.Pattern[str] = _UNSTORABLE) -> str:
    """Why a text cannot be kept; empty for one that can."""
    if len(text) > max_length:
        return f"a text of {len(text)} characters; at most {max_length} are taken"
    found = forbidden.search(text)
    return f"a text with U+{ord(found[0]):04X}, which is not taken here" if found else ""


def unstorable_value(values: Any) -> str:
    """The place of the first value that cannot be kept, and the reason; empty when all can."""
    size = 0  # with that of what is pending, so that a large document is refused before a large list is made of it
    pending: list[tuple[_Place, Any]] = [((), values)]
    while pending:
        place, value = pending.pop()
        if reason := _reason(place, value):
            return f"{_show_place(place)}: {reason}" if place else reason
        size += len(value) if isinstance(value, str) else 0
        size += len(value) * _VALUE_SIZE if isinstance(value, dict | list | tuple) else 0
        size += len(place[-1]) if place and isinstance(place[-1], str) else 0
        if size > MAX_VALUES_SIZE:
            return f"{_show_place(place)}: all values together are larger than {MAX_VALUES_SIZE} characters"
        pending += _children(place, value)
    return ""


def storable(text: str) -> str:
    """A text as it can be kept: what cannot be stored in it is replaced by U+FFFD."""
    return _UNSTORABLE.sub("\ufffd", text)


def escape_controls(text: str) -> str:
    """A text that a terminal and a log show as it is: control characters other than line ends and tabs are escaped."""
    return _CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def first_reason(error: ValidationError) -> str:
    """The first fault of a document, with its place."""
    fault = error.errors(include_context=False, include_input=False, include_url=False)[0]
    return ": ".join(filter(None, (_show_place(fault["loc"]), fault["msg"])))


def _children(place: _Place, value: Any) -> Iterator[tuple[_Place, Any]]:
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list | tuple) else ()
    return (((*place, key), each) for key, each in entries)


def _reason(place: _Place, value: Any) -> str:
    """Why a value cannot be kept that is at a place, whatever is in it."""
    key = place[-1] if place else ""
    if isinstance(key, str) and (reason := unstorable_reason(key)):
        return f"its name is {reason}"
    if isinstance(value, str):
        return unstorable_reason(value)
    if isinstance(value, bool) or value is None:
        return ""
    if isinstance(value, int):
        return "" if -MAX_INTEGER - 1 <= value <= MAX_INTEGER else "an integer of more than 64 bits"
    if isinstance(value, float):
        return "" if math.isfinite(value) else "a number that is not finite"
    return _container_reason(place, value)


def _container_reason(place: _Place, value: Any) -> str:
    if not isinstance(value, dict | list | tuple):
        return f"a {type(value).__name__}, which JSON does not have"
    if len(place) >= MAX_DEPTH:
        return f"objects and lists in each other more than {MAX_DEPTH} deep"
    if isinstance(value, dict) and not all(isinstance(key, str) for key in value):
        return "an object with a name that is not a text"
    return ""


def _show_place(place: _Place) -> str:
    shown = ".".join(escape_controls(storable(str(each)[:_MAX_SHOWN])) for each in place)
    return shown if len(shown) <= _MAX_SHOWN else f"{shown[:_MAX_SHOWN]}…"


def _refuse(reason: str) -> PydanticCustomError:
    return PydanticCustomError("storable", "{reason}", {"reason": reason})


def _check_values(values: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
    if info.context is not STORED and (reason := unstorable_value(values)):
        raise _refuse(reason)
    return values


def _checked_text(max_length: int, forbidden: re.Pattern[str] = _UNSTORABLE) -> AfterValidator:
    def check(text: str, info: ValidationInfo) -> str:
        if info.context is not STORED and (reason := unstorable_reason(text, max_length, forbidden)):
            raise _refuse(reason)
        return text

    return AfterValidator(check)


def _shortened(part: slice) -> BeforeValidator:
    """What programs print is never refused: it is made storable, and a part of it is kept."""

    def shorten(text: Any) -> Any:
        return storable(text[part]) if isinstance(text, str) else text

    return BeforeValidator(shorten)


# Values as JSON has them; what a schema of a software release says about them is checked by the master.
Parameters = Annotated[dict[str, Any], AfterValidator(_check_values)]

# Values that were judged when they came.
StoredParameters = dict[str, Any]

Text = Annotated[str, _checked_text(MAX_TEXT_LENGTH)]
LargeText = Annotated[str, _checked_text(MAX_LARGE_TEXT_LENGTH)]  # a journal
Line = Annotated[str, _checked_text(MAX_LINE_LENGTH, _NOT_IN_LINES)]  # a URL, a label
Word = Annotated[str, _checked_text(MAX_LINE_LENGTH, NOT_IN_WORDS)]  # a line that may become a part of a path: a guid
Message = Annotated[str, _shortened(slice(MAX_MESSAGE_LENGTH))]  # why something failed, in words of a program
AnswerText = Annotated[str, _shortened(slice(-MAX_TEXT_LENGTH, None))]  # lines of logs that somebody asked for
LogText = Annotated[str, _shortened(slice(-MAX_LOG_LENGTH, None))]  # the end of a log

Count = Annotated[int, Field(ge=0, le=MAX_INTEGER)]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Moment = AwareDatetime
