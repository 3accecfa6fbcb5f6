"""Parameters against the JSON Schema of a software type: all violations at once."""

import json
from collections import OrderedDict
from collections.abc import Iterable
from contextlib import suppress
from threading import Lock
from typing import Any

from jsonschema_rs import Validator

from slap.master.database.text import did_you_mean, to_json
from slap.master.schema.limits import SchemaLimits, check_limits, cost_of_schema, size_of_value
from slap.master.schema.validation import CheckFailed, SchemaChecks
from slap.master.schema.validator import UnusableSchema, compile_schema, reason_against
from slap.model.errors import BrokenRelease, InvalidParameters
from slap.model.instance import FieldChange, InstanceRequest
from slap.model.software import SoftwareRelease, described_type
from slap.model.values import Parameters

# Characters of the documents of releases that are remembered with their schemas compiled.
_MAX_KNOWN_CHARACTERS = 4 << 20
_MAX_REMEMBERED_CHARACTERS = 256 << 10
# What is checked in this process, which serves nobody else meanwhile, is done in some milliseconds.
_MOST_STEPS_A_PART = 5_000
_MOST_STEPS = 500_000
_LONGEST_EFFECT = 100
_MOST_STEPS_IN_NAME = 20


class _Schema:
    """The parameters' schema of a software type, ready to be used in this process or in a worker."""

    def __init__(self, schema: dict[str, Any]) -> None:
        self.text = to_json(schema)
        self._cost = cost_of_schema(schema)
        self.validator: Validator | None = None
        if self._cost <= _MOST_STEPS_A_PART:
            with suppress(UnusableSchema):  # a worker says why
                self.validator = compile_schema(schema)

    def takes(self, parameters: Parameters) -> bool:
        """Whether it is certain that these parameters are valid. It takes few steps to say so, or no is the answer."""
        try:
            is_quick = self.validator and self._cost * size_of_value(parameters) <= _MOST_STEPS
            return bool(is_quick and self.validator and self.validator.is_valid(parameters))
        except (RecursionError, ValueError):  # nested too deeply
            return False


class KnownRelease:
    """A release as it is stored, and the schema of the parameters of one type, compiled on first use."""

    def __init__(self, document: str, key: str = "", schema: str = "") -> None:
        self.release = SoftwareRelease.model_validate_json(document)
        if schema:
            described = self.release.types[key].model_copy(update={"parameters_schema": json.loads(schema)})
            self.release = self.release.model_copy(update={"types": {**self.release.types, key: described}})
        self._schemas: dict[str, _Schema] = {}

    def schema(self, key: str) -> _Schema | None:
        """What checks the parameters of a type by its key; None when the release says nothing about them."""
        schema = self.release.types[key].parameters_schema
        if schema and key not in self._schemas:
            self._schemas[key] = _Schema(schema)
        return self._schemas.get(key)


class _KnownReleases:
    """Those used last: the same texts are the same release, and are compiled once. As objects they take much more room."""

    def __init__(self, max_characters: int) -> None:
        self._max_characters = max_characters
        self._characters = 0
        self._known: OrderedDict[tuple[str, str, str], KnownRelease] = OrderedDict()
        self._lock = Lock()

    def get(self, document: str, key: str = "", schema: str = "") -> KnownRelease:
        texts = (document, key, schema)
        with self._lock:
            if texts in self._known:
                self._known.move_to_end(texts)
                return self._known[texts]
        found = KnownRelease(document, key, schema)
        if sum(map(len, texts)) > _MAX_REMEMBERED_CHARACTERS:
            return found
        with self._lock:
            self._characters += 0 if texts in self._known else sum(map(len, texts))
            self._known[texts] = found
            while self._characters > self._max_characters:
                self._characters -= sum(map(len, self._known.popitem(last=False)[0]))
        return found


known_release = _KnownReleases(_MAX_KNOWN_CHARACTERS).get


async def check_parameters(checks: SchemaChecks, owner: str, known: KnownRelease, order: InstanceRequest) -> None:
    """Raise unless the release has the type that is asked for, and its schema takes the parameters."""
    release = known.release
    if not release.types:
        return
    name = order.software_type
    keys = release.keys_of_types(order.shared)
    described = described_type(name, keys)
    if described not in keys:
        raise _no_type(release, name, keys, "shared " if order.shared else "")
    schema = known.schema(keys[described])
    if schema is None or schema.takes(order.parameters):
        return
    lines = await _violations(checks, owner, schema, order)
    if lines:
        raise InvalidParameters(
            f"{len(lines)} parameter{'s' * (len(lines) > 1)} of {release.url} ({name}) cannot be accepted.",
            "\n".join(lines),
            "Correct them and repeat the request; nothing was changed.",
        )


async def _violations(checks: SchemaChecks, owner: str, schema: _Schema, order: InstanceRequest) -> tuple[str, ...]:
    """What the schema says against the parameters: a line each, with the place."""
    which = f"The schema of {order.software_release} ({order.software_type})"
    try:
        verdict = await checks.check(owner, schema.text, order.parameters)
    except CheckFailed as error:
        raise InvalidParameters(
            f"{which} {error} to check these parameters.",
            "The check was ended; nothing was changed.",
            "Have the schema simplified and the release supplied again, or ask for smaller parameters.",
        ) from error
    if verdict.unusable:
        raise BrokenRelease(
            f"{which} cannot be used.", verdict.unusable, "Have it corrected, and the release supplied again."
        )
    return verdict.lines


def check_schema(schema: dict[str, Any], name: str, limits: SchemaLimits) -> bool:
    """Raise BrokenRelease for a schema beyond the limits, and for one of which it is quickly seen that it is none; whether
    that could be seen: else `check_costly_schema` says it."""
    check_limits(schema, name, limits)
    is_cheap = cost_of_schema(schema) <= _MOST_STEPS_A_PART
    if is_cheap:
        _refuse(name, reason_against(schema))
    return is_cheap


async def check_costly_schema(checks: SchemaChecks, owner: str, schema: str, name: str) -> None:
    """Raise BrokenRelease unless a JSON text is a JSON Schema: a worker tries."""
    try:
        _refuse(name, (await checks.check(owner, schema)).unusable)
    except CheckFailed as error:
        raise BrokenRelease(f"{name} {error} to be read.", "", "Simplify it.") from error


def _refuse(name: str, reason: str) -> None:
    if reason:
        raise BrokenRelease(f"{name} is not a valid JSON Schema.", reason, "Correct it, and supply the release again.")


def with_effects(
    known: KnownRelease, software_type: str, changes: Iterable[FieldChange], shared: bool = False
) -> tuple[FieldChange, ...]:
    """Changes with what the schema of the release says of each, by `x-effect` of the parameter."""
    key = key_of_type(known.release, software_type, shared)
    schema = (known.release.types[key].parameters_schema if key else None) or {}
    properties = schema.get("properties", {})
    return tuple(each.model_copy(update={"effect": _effect(properties, each.field)}) for each in changes)


def key_of_type(release: SoftwareRelease, software_type: str, shared: bool) -> str:
    """Under which a type is described; empty for none."""
    keys = release.keys_of_types(shared)
    return keys.get(described_type(software_type, keys), "")


def _effect(properties: Any, field: str) -> str:
    """Whatever strangers wrote into a schema, words are what comes out."""
    _, _, path = field.partition("parameters.")
    steps = path.split(".", _MOST_STEPS_IN_NAME)
    names = (".".join(steps[:count]) for count in range(len(steps), 0, -1))
    said = next((properties[name] for name in names if name in properties), None)
    effect = said.get("x-effect", "") if isinstance(said, dict) else ""
    return effect[:_LONGEST_EFFECT] if isinstance(effect, str) else ""


def _no_type(release: SoftwareRelease, name: str, known: Iterable[str], kind: str) -> BrokenRelease:
    return BrokenRelease(
        f"{release.url} has no {kind}software type {name}.",
        f"Its {kind}types: {', '.join(sorted(known)) or 'none'}.",
        did_you_mean(name, known) or f"Use one of its {kind}types.",
    )
