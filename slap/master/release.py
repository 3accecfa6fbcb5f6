"""What a software release says of itself: software.cfg.json and the schemas beside it, read from where the release is."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from slap.master.order.parameters import check_schema
from slap.master.order.schema import SchemaLimits, check_depth
from slap.model.errors import BrokenRelease, NotFound, SlapError
from slap.model.serialisation import Serialisation
from slap.model.software import SoftwareRelease, SoftwareType
from slap.system.http import fetch_text

_LARGEST_FILE = 1 << 20
_LIMITS = SchemaLimits()


class _TypeDescription(BaseModel):
    """A software type in software.cfg.json; what else SlapOS has there does not concern us."""

    model_config = ConfigDict(extra="ignore")

    title: str = ""
    description: str = ""
    request: str = ""
    response: str = ""
    shared: bool = False
    software_type: str = Field("", alias="software-type")
    serialisation: Serialisation = Serialisation.NONE


class _Description(BaseModel):
    model_config = ConfigDict(extra="ignore")

    name: str = ""
    description: str = ""
    types: dict[str, _TypeDescription] = Field(default_factory=dict, alias="software-type")
    serialisation: Serialisation = Serialisation.NONE


def read_release(url: str, limits: SchemaLimits = _LIMITS) -> SoftwareRelease:
    """Read a release, checking all that it says; raises NotFound or BrokenRelease naming the file. May take a while."""
    _read(url)
    try:
        words = _read(f"{url}.json")
    except NotFound:
        return SoftwareRelease(url=url)
    description = _description(words, f"{url}.json")
    types = {name: _software_type(url, each, limits) for name, each in description.types.items()}
    return SoftwareRelease(
        url=url,
        title=description.name,
        description=description.description,
        types=types,
        serialisation=description.serialisation,
    )


def _description(words: str, name: str) -> _Description:
    try:
        return _Description.model_validate(_parse(words, name))
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()]
        raise BrokenRelease(
            f"{name} does not describe a software release.", "\n".join(lines), f"Correct {name}."
        ) from error


def _software_type(url: str, described: _TypeDescription, limits: SchemaLimits) -> SoftwareType:
    return SoftwareType(
        title=described.title,
        description=described.description,
        parameters_schema=_schema(url, described.request, limits),
        connection_schema=_schema(url, described.response, limits),
        shared=described.shared,
        software_type=described.software_type,
        serialisation=described.serialisation,
    )


def _schema(url: str, reference: str, limits: SchemaLimits) -> dict[str, Any]:
    """A schema with all that it refers to in it; an empty one when none is named."""
    if not reference:
        return {}
    name = _beside(url, reference)
    bundle = _Bundle(name, limits)
    try:
        schema = bundle.load(name)
    except RecursionError as error:
        raise BrokenRelease(
            f"{name} cannot be read.", "Too many files refer to each other in a row.", "Put schemas into fewer files."
        ) from error
    if bundle.documents:
        own = schema.get("$defs")
        schema = {**schema, "$defs": {**(own if isinstance(own, dict) else {}), **bundle.documents}}
    check_schema(schema, name, limits)
    return schema


@dataclass
class _Bundle:
    """Schemas of several files in one document: the first one, and the others under its $defs."""

    first: str
    limits: SchemaLimits
    names: dict[str, str] = field(default_factory=dict)  # in $defs, by the address of the file
    documents: dict[str, Any] = field(default_factory=dict)

    def load(self, name: str) -> dict[str, Any]:
        schema = _parse(_read(name), name)
        check_depth(schema, name, self.limits.depth)
        if not isinstance(schema, dict):
            raise BrokenRelease(f"{name} is not a JSON Schema.", "It is not an object.", f"Correct {name}.")
        return dict(self._rewritten(schema, name))

    def _rewritten(self, value: Any, name: str) -> Any:
        """The value with its references made to point into the one document."""
        if isinstance(value, list):
            return [self._rewritten(each, name) for each in value]
        if not isinstance(value, dict):
            return value
        fresh = {key: self._rewritten(each, name) for key, each in value.items()}
        if isinstance(value.get("$ref"), str):
            fresh["$ref"] = self._reference(value["$ref"], name)
        return fresh

    def _reference(self, reference: str, name: str) -> str:
        file, _, pointer = reference.partition("#")
        target = _beside(name, file) if file else name
        if target == self.first:
            return f"#{pointer}"
        if target not in self.names:
            # Named before it is loaded: schemas may refer to each other in circles.
            self.names[target] = f"file-{len(self.names) + 1}"
            loaded = self.load(target)
            self.documents[self.names[target]] = {
                key: loaded[key] for key in loaded if key not in ("$id", "id", "$schema")
            }
        return f"#/$defs/{self.names[target]}{pointer}"


def _beside(base: str, reference: str) -> str:
    """The address of a file that `base` refers to; raises BrokenRelease for one that is elsewhere."""
    if urlsplit(base).scheme:
        found = urljoin(base, reference)
        is_near = urlsplit(found)[:2] == urlsplit(base)[:2]
    else:
        found = str((Path(base).parent / reference).resolve())
        is_near = not urlsplit(reference).scheme and not Path(reference).is_absolute()
    if is_near:
        return found
    raise BrokenRelease(
        f"{base} refers to {reference}.", "A release's files lie beside each other.", f"Correct {base}."
    )


def _parse(words: str, name: str) -> Any:
    try:
        return json.loads(words)
    except json.JSONDecodeError as error:
        raise BrokenRelease(
            f"{name} is not JSON.", f"Line {error.lineno}, column {error.colno}: {error.msg}.", f"Correct {name}."
        ) from error
    except (RecursionError, ValueError) as error:
        raise BrokenRelease(
            f"{name} cannot be read.", "It is nested too deeply, or has a number that is too long.", f"Correct {name}."
        ) from error


def _read(name: str) -> str:
    if urlsplit(name).scheme:
        return fetch_text(name, _LARGEST_FILE)
    try:
        with Path(name).open("rb") as file:
            return file.read(_LARGEST_FILE).decode()
    except FileNotFoundError as error:
        raise _unreadable(NotFound, name, "There is no such file.") from error
    except (OSError, ValueError) as error:  # not text, or not a name of a file
        raise _unreadable(BrokenRelease, name, str(error)) from error


def _unreadable(kind: type[SlapError], name: str, reason: str) -> SlapError:
    return kind(f"{name} cannot be read.", reason, "Check the path or the URL of the software release.")
