"""What is known of a schema without using it: whether it is within the limits, and whether it can be used cheaply."""

import math
import re
from collections.abc import Iterable, Iterator
from graphlib import CycleError, TopologicalSorter
from typing import Any
from urllib.parse import unquote

from pydantic import Field

from slap.master.database.text import to_json
from slap.model.base import Frozen
from slap.model.errors import BrokenRelease, InvalidInput

# Applied to the very value to which the schema is applied that has them.
_LISTS_IN_PLACE = ("allOf", "anyOf", "oneOf")
_SCHEMAS_IN_PLACE = ("not", "if", "then", "else")
_NAMED_IN_PLACE = ("dependentSchemas", "dependencies")
# What takes more than a step for each part of the value, or makes the meaning of references depend on where they are.
_COSTLY = frozenset(
    {
        "pattern", "patternProperties", "uniqueItems", "multipleOf", "unevaluatedItems", "unevaluatedProperties",
        "$dynamicRef", "$dynamicAnchor", "$recursiveRef", "$recursiveAnchor", "$anchor", "contentSchema",
    }
)  # fmt: skip
_DEEPEST_CHEAP = 60
_LONGEST_PLACE = 120
_INDEX = re.compile(r"[0-9]{1,6}")
_CHARACTERS_A_STEP = 64


class SchemaLimits(Frozen):
    """The largest schema that a release may have, with all that it refers to in it."""

    size: int = Field(default=512 * 1024, ge=1)  # bytes
    depth: int = Field(default=100, ge=1, le=200)  # of objects and arrays in each other
    parts: int = Field(default=10_000, ge=1)  # objects
    references: int = Field(default=2_000, ge=0)


def check_limits(schema: dict[str, Any], name: str, limits: SchemaLimits) -> None:
    """Raise BrokenRelease when a schema is beyond the limits, or refers to itself without an end."""
    check_depth(schema, name, limits.depth)
    parts = [each for level in _levels(schema) for each in level if isinstance(each, dict)]
    references = sum(isinstance(part.get("$ref"), str) for part in parts)
    for found, most, what in (
        (_size_of(schema, name), limits.size, "bytes"),
        (len(parts), limits.parts, "objects"),
        (references, limits.references, "references"),
    ):
        if found > most:
            raise _beyond(name, f"It has {found} {what} with all that it refers to; {most} are allowed.")
    endless = _endless_reference(schema)
    if endless:
        raise BrokenRelease(
            f"{name} refers to itself without an end.",
            " -> ".join(endless),
            "Have each reference lead to a schema of its own, or to one for a part of the value.",
        )


def _size_of(schema: dict[str, Any], name: str) -> int:
    try:
        return len(to_json(schema))
    except InvalidInput as error:
        raise BrokenRelease(
            f"{name} cannot be stored.",
            "It has an integer beyond 64 bits, or half of a surrogate pair.",
            f"Correct {name}.",
        ) from error


def check_depth(value: Any, name: str, most: int) -> None:
    """Raise BrokenRelease when objects and arrays are in each other more than so many times."""
    for depth, _ in enumerate(_levels(value), 1):
        if depth > most:
            raise _beyond(name, f"Its objects and arrays are in each other more than {most} times.")


def _beyond(name: str, details: str) -> BrokenRelease:
    return BrokenRelease(
        f"{name} is beyond what a schema may be.",
        details,
        "Make it smaller; the operator of the master sets the limits.",
    )


def _levels(value: Any) -> Iterator[list[Any]]:
    """The objects and arrays of a value, with those in the same depth together, the outermost first."""
    level = [value]
    while level:
        yield level
        level = [inner for each in level for _, inner in _items(each) if isinstance(inner, dict | list)]


def _items(value: Any) -> Iterable[tuple[Any, Any]]:
    return value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()


def _endless_reference(schema: dict[str, Any]) -> list[str]:
    """The places of schemas that apply each other to the same value in a circle; empty when there are none."""
    places = _places(schema)
    graph = {
        id(part): {id(each) for each in _in_place(schema, part) if id(each) in places} for _, part in places.values()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return [places[each][0] for each in error.args[1][:10]]
    return []


def _places(schema: dict[str, Any]) -> dict[int, tuple[str, dict[str, Any]]]:
    """All objects in a schema, by their ids, each with the (shortened) JSON pointer to it."""
    places = {}
    pending: list[tuple[str, Any]] = [("#", schema)]
    while pending:
        place, value = pending.pop()
        if isinstance(value, dict):
            places[id(value)] = place, value
        pending += [(f"{place}/{key}"[:_LONGEST_PLACE], each) for key, each in _items(value) if _items(each)]
    return places


def _in_place(root: dict[str, Any], part: dict[str, Any]) -> Iterator[Any]:
    """The schemas that a schema applies to the same value."""
    for key in _LISTS_IN_PLACE:
        inner = part.get(key)
        yield from inner if isinstance(inner, list) else ()
    yield from (part.get(key) for key in _SCHEMAS_IN_PLACE)
    for key in _NAMED_IN_PLACE:
        inner = part.get(key)
        yield from inner.values() if isinstance(inner, dict) else ()
    yield _target(root, part.get("$ref"))


def _target(root: dict[str, Any], reference: Any) -> Any:
    """What a JSON pointer into the schema refers to; None for what is not there, and for other references."""
    if not isinstance(reference, str) or not (reference == "#" or reference.startswith("#/")):
        return None
    found: Any = root
    for step in unquote(reference).split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        if isinstance(found, list) and _INDEX.fullmatch(name) and int(name) < len(found):
            found = found[int(name)]
        else:
            found = found.get(name) if isinstance(found, dict) else None
    return found


def cost_of_schema(schema: dict[str, Any]) -> float:
    """How many steps at most a schema takes for each part of a value; infinite when that is not known without a trial.

    References are counted with all that they refer to, each time.
    """
    return _Cost(schema).of(schema, 0)


class _Cost:
    def __init__(self, root: dict[str, Any]) -> None:
        self._root = root
        self._known: dict[int, float] = {}

    def of(self, value: Any, depth: int) -> float:
        if depth > _DEEPEST_CHEAP:
            return math.inf
        if isinstance(value, list):
            return 1 + sum(self.of(each, depth + 1) for each in value)
        if not isinstance(value, dict):
            return size_of_value(value)
        if id(value) not in self._known:
            self._known[id(value)] = math.inf  # until it is known: for one that refers to itself
            self._known[id(value)] = self._of_object(value, depth)
        return self._known[id(value)]

    def _of_object(self, part: dict[str, Any], depth: int) -> float:
        is_inner = part is not self._root
        if not _COSTLY.isdisjoint(part) or (is_inner and any(isinstance(part.get(key), str) for key in ("$id", "id"))):
            return math.inf
        if "$ref" in part and _target(self._root, part["$ref"]) is None:
            return math.inf
        inner = [*part.values(), _target(self._root, part.get("$ref"))]
        return 1.0 + sum(self.of(each, depth + 1) for each in inner)


def size_of_value(value: Any) -> int:
    """About how many steps it takes to read a value: one for each part, and more for long texts.

    Values are nested no deeper than what can be stored.
    """
    if isinstance(value, dict):
        return 1 + sum(size_of_value(each) + len(key) // _CHARACTERS_A_STEP for key, each in value.items())
    if isinstance(value, list):
        return 1 + sum(map(size_of_value, value))
    return 1 + (len(value) // _CHARACTERS_A_STEP if isinstance(value, str) else 0)
