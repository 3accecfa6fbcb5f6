"""A schema as what checks parameters, and what it says against them. Imports little: worker processes are made of this."""

import re
from collections.abc import Iterator
from itertools import islice
from typing import Any

from jsonschema_rs import (
    Draft4Validator,
    Draft6Validator,
    Draft7Validator,
    Draft201909Validator,
    Draft202012Validator,
    FancyRegexOptions,
    ValidationError,
    ValidationErrorKind,
    Validator,
)

from slap.master.schema.pattern import PatternError, normalise_pattern

# SlapOS reads schemas that name no draft, or an unknown one, as draft 7.
_DRAFTS: dict[str, type[Validator]] = {
    "http://json-schema.org/draft-04/schema": Draft4Validator,
    "http://json-schema.org/draft-06/schema": Draft6Validator,
    "https://json-schema.org/draft/2019-09/schema": Draft201909Validator,
    "https://json-schema.org/draft/2020-12/schema": Draft202012Validator,
}
# Lookaround is matched by steps back, of which there may be so many; all other patterns take linear time.
_PATTERNS = FancyRegexOptions(backtrack_limit=1_000_000, size_limit=10 << 20, dfa_size_limit=2 << 20)
_DATA = frozenset({"const", "default", "enum", "examples"})
_BY_NAME = frozenset({"$defs", "definitions", "dependencies", "dependentSchemas", "properties"})
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MOST_LINES = 50
_LONGEST_LINE = 300
_LONGEST_START, _LONGEST_END = 195, 100


class UnusableSchema(ValueError):
    """A schema cannot be used; its text names the place in the schema, and the reason."""


def compile_schema(schema: dict[str, Any]) -> Validator:
    """What checks parameters against a schema. Fetches nothing. Raises UnusableSchema."""
    named = schema.get("$schema")
    draft = _DRAFTS.get(named.rstrip("#"), Draft7Validator) if isinstance(named, str) else Draft7Validator
    try:
        return draft(_normalised(schema, "$"), validate_formats=False, pattern_options=_PATTERNS, offline=True)
    except ValidationError as error:
        is_pattern = isinstance(error.kind, ValidationErrorKind.Format) and error.kind.format == "regex"
        message = "This pattern cannot be used, or is too large for the engine." if is_pattern else error.message
        raise UnusableSchema(_line(_path(error.instance_path), message)) from error
    except RecursionError as error:
        raise UnusableSchema("$: It is nested too deeply.") from error


def reason_against(schema: dict[str, Any]) -> str:
    """Why a schema cannot be used; empty when it can."""
    try:
        compile_schema(schema)
    except UnusableSchema as error:
        return str(error)
    return ""


def describe_errors(validator: Validator, parameters: object) -> list[str]:
    """What the schema says against the parameters: a line each, with the place. Empty when they are valid."""
    lines = (line for error in validator.iter_errors(parameters) for line in _lines(error, parameters))
    return sorted(set(islice(lines, _MOST_LINES)))


def _lines(error: ValidationError, parameters: object) -> Iterator[str]:
    """An error of a choice (oneOf) says little by itself: what speaks against each choice does."""
    yield _line(_path(error.instance_path, parameters), error.message)
    if isinstance(error.kind, ValidationErrorKind.AnyOf | ValidationErrorKind.OneOfNotValid):
        for reason in (each for choice in error.kind.context for each in choice):
            yield f"  {_line(_path(reason.instance_path, parameters), reason.message)}"


def _line(place: str, message: str) -> str:
    """A line of bounded length, in which nothing does anything to a terminal."""
    text = f"{place}: {message}"
    if len(text) <= _LONGEST_LINE and text.isprintable():
        return text
    start, end = _printable(text[:_LONGEST_LINE]), _printable(text[_LONGEST_LINE:][-_LONGEST_LINE:])
    # What is wrong with a value is said at the end.
    return (
        f"{start}{end}"
        if len(start + end) <= _LONGEST_LINE
        else f"{start[:_LONGEST_START]} ... {(start + end)[-_LONGEST_END:]}"
    )


def _printable(text: str) -> str:
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def _path(steps: list[str | int], value: Any = None) -> str:
    """The place of a part of a value. The validator takes names of digits for numbers: the value says which is which."""
    place = "$"
    for step in steps:
        step = str(step) if isinstance(value, dict) else step
        place = _within(place, step)
        is_there = step in value if isinstance(value, dict) else isinstance(value, list) and isinstance(step, int)
        value = value[step] if is_there else None
    return place


def _step(step: str | int) -> str:
    if isinstance(step, int):
        return f"[{step}]"
    step = step[:_LONGEST_LINE]
    return f".{step}" if _PLAIN_NAME.fullmatch(step) else f"[{step!r}]"


def _within(place: str, step: str | int) -> str:
    """The place of a part, shortened: names of strangers may be long."""
    return f"{place}{_step(step)}"[:_LONGEST_LINE]


def _normalised(value: Any, place: str) -> Any:
    """A schema, or a list of schemas, with all patterns as the engine reads them with their own meaning."""
    if isinstance(value, list):
        return [_normalised(each, _within(place, number)) for number, each in enumerate(value)]
    if not isinstance(value, dict):
        return value
    return {key: _normalised_keyword(key, each, _within(place, key)) for key, each in value.items()}


def _normalised_keyword(key: str, value: Any, place: str) -> Any:
    if key == "pattern" and isinstance(value, str):
        return _normalised_pattern(value, place)
    if key == "patternProperties" and isinstance(value, dict):
        return _normalised_names(value, place)
    if key in _BY_NAME and isinstance(value, dict):
        return {name: _normalised(each, _within(place, name)) for name, each in value.items()}
    return value if key in _DATA else _normalised(value, place)


def _normalised_names(value: dict[str, Any], place: str) -> dict[str, Any]:
    found = {_normalised_pattern(name, place): _normalised(each, _within(place, name)) for name, each in value.items()}
    if len(found) < len(value):
        raise UnusableSchema(_line(place, "Two of its patterns mean the same."))
    return found


def _normalised_pattern(pattern: str, place: str) -> str:
    try:
        return normalise_pattern(pattern)
    except PatternError as error:
        raise UnusableSchema(_line(place, f"{pattern[:100]!r} is not a pattern. {error}")) from error
