"""Values that every part of the project can keep: in JSON and XML, in SQLite and PostgreSQL, in a file and in a terminal.

One judgement for all protocols. A text has no U+0000, which PostgreSQL cannot store, and no lone surrogates, which UTF-8
cannot encode. A number is finite, and an integer has 64 bits at most. Values are of limited depth and size.
"""

import math
import re
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Annotated, Any

import orjson
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BeforeValidator,
    Field,
    GetCoreSchemaHandler,
    ValidationError,
    ValidationInfo,
)
from pydantic_core import PydanticCustomError, core_schema, to_json

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
NOT_IN_WORDS = re.compile("[\0-\x1f\x7f/\\\\\ud800-\udfff]")
# Line ends and tabs are none of these; marks that change the direction of what follows are.
_CONTROLS = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_VALUE_SIZE = 8
_STRICT = orjson.OPT_STRICT_INTEGER | orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME
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
    if _is_certainly_storable(values):
        return ""
    try:
        _measure(values, 0)
    except _UnstorableError as error:
        return ": ".join(filter(None, (_show_place(tuple(reversed(error.place))), error.reason)))
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


def _is_certainly_storable(values: Any) -> bool:
    """Whether values can be kept, where their JSON tells that at once: in a few percent of the time of `_measure`.

    orjson refuses lone surrogates, names that are not texts, and here integers of more than 53 bits. It writes `null` for
    a number that is not finite. A value takes at least two bytes, so the size of the JSON bounds that of the values.
    """
    try:
        text = orjson.dumps(values, option=_STRICT)
    except orjson.JSONEncodeError:
        return False
    if len(text) * (1 + _VALUE_SIZE / 2) > MAX_VALUES_SIZE or b"\\u0000" in text:
        return False
    if b"null" in text:
        text = to_json(values, inf_nan_mode="constants")
    if b"NaN" in text or b"Infinity" in text:
        return False
    return text.count(b"{") + text.count(b"[") <= MAX_DEPTH or _is_shallow(values)


def _is_shallow(values: Any) -> bool:
    level, depth = [values], 0
    while level and depth <= MAX_DEPTH:
        inner = chain.from_iterable(each.values() if type(each) is dict else each for each in level)
        level = [each for each in inner if type(each) is dict or type(each) is list]
        depth += 1
    return depth <= MAX_DEPTH


class _UnstorableError(Exception):
    """A value that cannot be kept; `place` grows from it to the outermost one."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.place: list[str | int] = []


def _measure(value: Any, depth: int) -> int:
    """The size of a value; raises _UnstorableError."""
    if isinstance(value, str):
        if reason := unstorable_reason(value):
            raise _UnstorableError(reason)
        return len(value) + _VALUE_SIZE
    if isinstance(value, int) and not -MAX_INTEGER - 1 <= value <= MAX_INTEGER:
        raise _UnstorableError("an integer of more than 64 bits")
    if isinstance(value, float) and not math.isfinite(value):
        raise _UnstorableError("a number that is not finite")
    if value is None or isinstance(value, int | float):
        return _VALUE_SIZE
    return _measure_container(value, depth)


def _measure_container(value: Any, depth: int) -> int:
    if not isinstance(value, dict | list | tuple):
        raise _UnstorableError(f"a {type(value).__name__}, which JSON does not have")
    if depth >= MAX_DEPTH:
        raise _UnstorableError(f"objects and lists in each other more than {MAX_DEPTH} deep")
    size = _VALUE_SIZE
    for key, each in value.items() if isinstance(value, dict) else enumerate(value):
        try:
            size += _measure(each, depth + 1)
            if isinstance(value, dict):
                size += _measure_name(key)
            if size > MAX_VALUES_SIZE:
                raise _UnstorableError(f"all values together are larger than {MAX_VALUES_SIZE} characters")
        except _UnstorableError as error:
            error.place.append(key)
            raise
    return size


def _measure_name(key: object) -> int:
    if not isinstance(key, str):
        raise _UnstorableError("its name is not a text")
    if reason := unstorable_reason(key):
        raise _UnstorableError(f"its name is {reason}")
    return len(key)


def _show_place(place: _Place) -> str:
    shown = ".".join(escape_controls(storable(str(each)[:_MAX_SHOWN])) for each in place)
    return shown if len(shown) <= _MAX_SHOWN else f"{shown[:_MAX_SHOWN]}…"


def _refuse(reason: str) -> PydanticCustomError:
    return PydanticCustomError("storable", "{reason}", {"reason": reason})


def _check_values(values: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
    if info.context is not STORED and (reason := unstorable_value(values)):
        raise _refuse(reason)
    return values


@dataclass(frozen=True)
class _Text:
    """A text without the characters of a class of regular expressions, judged without running any Python."""

    max_length: int
    forbidden: str
    words: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        pattern, known = f"^[^{self.forbidden}]*$", handler(source)  # which has the limits that a field adds
        most = min(self.max_length, known.get("max_length", self.max_length))
        text = core_schema.str_schema(max_length=most, min_length=known.get("min_length"), pattern=pattern)
        message = f"a text has at most {most} characters here, {self.words}"
        return core_schema.custom_error_schema(text, custom_error_type="storable", custom_error_message=message)


def _shortened(part: slice, max_length: int) -> Any:
    """What programs print is never refused: it is made storable, and a part of it is kept."""

    def shorten(text: Any) -> Any:
        return storable(text[part]) if isinstance(text, str) else text

    as_it_is = Annotated[str, _Text(max_length, r"\x00", "")]
    return Annotated[as_it_is | Annotated[str, BeforeValidator(shorten)], Field(union_mode="left_to_right")]


# Values as JSON has them; what a schema of a software release says about them is checked by the master.
Parameters = Annotated[dict[str, Any], AfterValidator(_check_values)]

# Values that were judged when they came.
StoredParameters = dict[str, Any]

_STORABLE = (r"\x00", "and neither U+0000 nor lone surrogates")
Text = Annotated[str, _Text(MAX_TEXT_LENGTH, *_STORABLE)]
LargeText = Annotated[str, _Text(MAX_LARGE_TEXT_LENGTH, *_STORABLE)]  # a journal
# A URL, a label.
Line = Annotated[str, _Text(MAX_LINE_LENGTH, r"\x00-\x1f\x7f", "and no control characters")]
# A line that may become a part of a path: a guid.
Word = Annotated[str, _Text(MAX_LINE_LENGTH, r"\x00-\x1f\x7f/\\", "and neither slashes nor control characters")]
if TYPE_CHECKING:
    AnswerText = str
    LogText = str
    Message = str
else:
    AnswerText = _shortened(slice(-MAX_TEXT_LENGTH, None), MAX_TEXT_LENGTH)  # lines of logs that somebody asked for
    LogText = _shortened(slice(-MAX_LOG_LENGTH, None), MAX_LOG_LENGTH)  # the end of a log
    Message = _shortened(slice(MAX_MESSAGE_LENGTH), MAX_MESSAGE_LENGTH)  # why something failed, in words of a program

Count = Annotated[int, Field(ge=0, le=MAX_INTEGER)]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Moment = AwareDatetime
