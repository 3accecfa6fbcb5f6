"""Parameters against the JSON Schema of a software type: all violations at once."""

from functools import lru_cache
from typing import Any

from jsonschema import Draft7Validator, SchemaError, ValidationError
from jsonschema.protocols import Validator
from jsonschema.validators import validator_for
from referencing import Registry
from referencing.exceptions import Unresolvable

from slap.master.text import did_you_mean, from_json, to_json
from slap.model.base import Parameters
from slap.model.errors import BrokenRelease, InvalidParameters
from slap.model.software import SoftwareRelease

_MOST_COMPILED = 512


@lru_cache(maxsize=_MOST_COMPILED)
def release_of(document: str) -> SoftwareRelease:
    """A release as it is stored."""
    return SoftwareRelease.model_validate_json(document)


def check_parameters(release: SoftwareRelease, software_type: str, parameters: Parameters) -> None:
    """Raise unless the release has this type, and its schema takes these parameters."""
    if not release.types:
        return
    if software_type not in release.types:
        raise BrokenRelease(
            f"{release.url} has no software type {software_type}.",
            f"Its types: {', '.join(sorted(release.types))}.",
            did_you_mean(software_type, release.types) or "Use one of its types.",
        )
    lines = violations(release.types[software_type].parameters_schema, parameters)
    if lines:
        raise InvalidParameters(
            f"{len(lines)} parameter{'s' * (len(lines) > 1)} of {release.url} ({software_type}) cannot be accepted.",
            "\n".join(lines),
            "Correct them and repeat the request; nothing was changed.",
        )


def violations(schema: dict[str, Any], parameters: Parameters) -> list[str]:
    """What the schema says against the parameters: a line each, with the place."""
    if not schema:
        return []
    try:
        found = list(_compiled(to_json(schema)).iter_errors(parameters))
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


@lru_cache(maxsize=_MOST_COMPILED)
def _compiled(words: str) -> Validator:
    schema = from_json(words)
    # With a registry of its own a schema cannot make the master fetch anything.
    return _validator_class(schema)(schema, registry=Registry())


def _validator_class(schema: dict[str, Any]) -> type[Validator]:
    return validator_for(schema, default=Draft7Validator)


def _lines(error: ValidationError) -> list[str]:
    """An error of a choice (oneOf) says little by itself: what speaks against each choice does."""
    reasons = [f"{reason.json_path}: {reason.message}" for reason in error.context or ()]
    return [f"{error.json_path}: {error.message}", *(f"  {reason}" for reason in reasons)]
