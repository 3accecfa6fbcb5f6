"""Parameters against the JSON Schema of a software type: all violations at once."""

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from jsonschema import Draft7Validator, SchemaError, ValidationError
from jsonschema.protocols import Validator
from jsonschema.validators import validator_for
from referencing import Registry
from referencing.exceptions import Unresolvable

from slap.master.database.text import did_you_mean
from slap.model.errors import BrokenRelease, InvalidParameters
from slap.model.instance import FieldChange
from slap.model.software import SoftwareRelease, described_type
from slap.model.values import Parameters

_MOST_COMPILED = 512
_LONGEST_EFFECT = 100


class KnownRelease:
    """A release as it is stored, with its schemas compiled on first use."""

    def __init__(self, document: str) -> None:
        self.release = SoftwareRelease.model_validate_json(document)
        self._validators: dict[str, Validator] = {}

    def validator(self, key: str) -> Validator | None:
        """What checks the parameters of a type by its key; None when the release says nothing about them."""
        schema = self.release.types[key].parameters_schema
        if schema and key not in self._validators:
            # With a registry of its own a schema cannot make the master fetch anything.
            self._validators[key] = _validator_class(schema)(schema, registry=Registry())
        return self._validators.get(key)


# The same text is the same release, and is compiled once.
known_release = lru_cache(maxsize=_MOST_COMPILED)(KnownRelease)


def check_parameters(known: KnownRelease, software_type: str, parameters: Parameters, shared: bool = False) -> None:
    """Raise unless the release has this type, and its schema takes these parameters."""
    release = known.release
    if not release.types:
        return
    keys = release.keys_of_types(shared)
    described = described_type(software_type, keys)
    if described not in keys:
        raise _no_type(release, software_type, keys, "shared " if shared else "")
    lines = _violations(known.validator(keys[described]), parameters)
    if lines:
        raise InvalidParameters(
            f"{len(lines)} parameter{'s' * (len(lines) > 1)} of {release.url} ({software_type}) cannot be accepted.",
            "\n".join(lines),
            "Correct them and repeat the request; nothing was changed.",
        )


def with_effects(
    known: KnownRelease, software_type: str, changes: Iterable[FieldChange], shared: bool = False
) -> tuple[FieldChange, ...]:
    """Changes with what the schema of the release says of each, by `x-effect` of the parameter."""
    keys = known.release.keys_of_types(shared)
    key = keys.get(described_type(software_type, keys), "")
    schema = (known.release.types[key].parameters_schema if key else None) or {}
    properties = schema.get("properties", {})
    return tuple(each.model_copy(update={"effect": _effect(properties, each.field)}) for each in changes)


def _effect(properties: Any, field: str) -> str:
    """Whatever strangers wrote into a schema, words are what comes out."""
    _, _, path = field.partition("parameters.")
    names = sorted((name for name in properties if f"{path}.".startswith(f"{name}.")), key=len)
    said = properties[names[-1]] if names else None
    effect = said.get("x-effect", "") if isinstance(said, dict) else ""
    return effect[:_LONGEST_EFFECT] if isinstance(effect, str) else ""


def _no_type(release: SoftwareRelease, name: str, known: Iterable[str], kind: str) -> BrokenRelease:
    return BrokenRelease(
        f"{release.url} has no {kind}software type {name}.",
        f"Its {kind}types: {', '.join(sorted(known)) or 'none'}.",
        did_you_mean(name, known) or f"Use one of its {kind}types.",
    )


def _violations(validator: Validator | None, parameters: Parameters) -> list[str]:
    """What the schema says against the parameters: a line each, with the place."""
    try:
        found = list(validator.iter_errors(parameters)) if validator else []
    except Unresolvable as error:
        raise BrokenRelease("A schema refers to what is not there.", str(error)) from error
    return sorted({line for error in found for line in _lines(error)})


def check_schema(schema: dict[str, Any], name: str) -> None:
    """Raise BrokenRelease when this is not a JSON Schema."""
    try:
        _validator_class(schema).check_schema(schema)
    except SchemaError as error:
        raise BrokenRelease(
            f"{name} is not a valid JSON Schema.", f"{error.json_path}: {error.message}", f"Correct {name}."
        ) from error


def _validator_class(schema: dict[str, Any]) -> type[Validator]:
    return validator_for(schema, default=Draft7Validator)


def _lines(error: ValidationError) -> list[str]:
    """An error of a choice (oneOf) says little by itself: what speaks against each choice does."""
    reasons = [f"{reason.json_path}: {reason.message}" for reason in error.context or ()]
    return [f"{error.json_path}: {error.message}", *(f"  {reason}" for reason in reasons)]
