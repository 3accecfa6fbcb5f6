"""What a software release says of itself: software.cfg.json and the schemas beside it, read from where the release is."""

import json
import os.path
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from slap.master.schema.limits import SchemaLimits
from slap.master.schema.parameters import check_schema
from slap.model.errors import BrokenRelease, NotFound
from slap.model.serialisation import Serialisation
from slap.model.software import SoftwareRelease, SoftwareType

if TYPE_CHECKING:
    from slap.system.network.documents import DocumentReader

_MAX_DESCRIPTION_CHARACTERS = 256 << 10
_MAX_VALUES = 50_000  # in all JSON files of a release: each takes many times its text in memory
_MAX_DEPTH = 64
_MAX_LINES = 20
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
_WHAT_CANNOT = "U+0000, and halves of characters, cannot be stored."
_REPEATED = "What several software types refer to counts for each of them."


class SchemaRole(StrEnum):
    """What a schema of a software type describes."""

    PARAMETERS = "parameters"
    CONNECTION = "connection"


SchemaKey = tuple[str, SchemaRole]  # with the key of the software type


@dataclass(frozen=True)
class ReadRelease:
    """A release as it is read: its types are without their schemas, which are JSON texts apart."""

    release: SoftwareRelease
    schemas: Mapping[SchemaKey, str]
    costly: Mapping[SchemaKey, str]  # the files of those that a worker has to try


@dataclass(frozen=True)
class Limits:
    """Of the schemas of a release, with all that they refer to in them: `max_bytes` of all, `schema` of each."""

    max_bytes: int
    schema: SchemaLimits


def read_release(url: str, reader: "DocumentReader", limits: Limits) -> ReadRelease:
    """Read a release, checking all that it says; raises NotFound, or InvalidInput that names the file."""
    return _Reading(url, reader, limits).release()


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


class _Reading:
    """One release while it is read."""

    def __init__(self, url: str, reader: "DocumentReader", limits: Limits) -> None:
        self._url = url
        self._reader = reader
        self._limits = limits
        self._bytes_left = limits.max_bytes
        self._values_left = _MAX_VALUES
        self._texts: dict[str, str] = {}
        self._schemas: dict[SchemaKey, str] = {}
        self._costly: dict[SchemaKey, str] = {}

    def release(self) -> ReadRelease:
        self._reader.read(self._url)
        try:
            description = self._description(f"{self._url}.json")
        except NotFound:
            return ReadRelease(SoftwareRelease(url=self._url), {}, {})
        release = SoftwareRelease(
            url=self._url,
            title=description.name,
            description=description.description,
            types={key: self._software_type(key, each) for key, each in description.types.items()},
            serialisation=description.serialisation,
        )
        return ReadRelease(release, self._schemas, self._costly)

    def _description(self, name: str) -> _Description:
        value = self.load(name)
        if len(self._texts[name]) > _MAX_DESCRIPTION_CHARACTERS:
            brief = f"{name} has more than {_MAX_DESCRIPTION_CHARACTERS} characters."
            raise BrokenRelease(brief, "", "Schemas belong into files beside it.")
        try:
            return _Description.model_validate(value)
        except ValidationError as error:
            lines = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()]
            raise BrokenRelease(
                f"{name} does not describe a software release.", "\n".join(lines[:_MAX_LINES]), f"Correct {name}."
            ) from error

    def _software_type(self, key: str, described: _TypeDescription) -> SoftwareType:
        self._add_schema((key, SchemaRole.PARAMETERS), described.request)
        self._add_schema((key, SchemaRole.CONNECTION), described.response)
        return SoftwareType(
            title=described.title,
            description=described.description,
            shared=described.shared,
            software_type=described.software_type,
            serialisation=described.serialisation,
        )

    def _add_schema(self, key: SchemaKey, reference: str) -> None:
        """Read a schema with all that it refers to; none when no file is named."""
        if not reference:
            return
        name = _beside(self._url, reference)
        schema = _Bundle(name).load(self.load)
        if not check_schema(schema, name, self._limits.schema):
            self._costly[key] = name
        # As ASCII, because a JSON text may escape what UTF-8 cannot hold.
        self._schemas[key] = json.dumps(schema, sort_keys=True, separators=(",", ":"))
        self._bytes_left -= len(self._schemas[key])
        if self._bytes_left < 0:
            raise BrokenRelease(f"The schemas of {self._url} are too large.", _REPEATED, "Make them smaller.")

    def load(self, name: str) -> Any:
        """The value in a JSON file. A file is read once, but its values count each time that a type has them."""
        if name not in self._texts:
            self._texts[name] = self._reader.read(name)
        text = self._texts[name]
        self._values_left -= text.count(",") + text.count("[") + text.count("{") + 1
        if self._values_left < 0:
            raise BrokenRelease(
                f"{name} is too much.",
                f"A release has at most {_MAX_VALUES} values in its JSON files, counted for each software type.",
                "Leave something out.",
            )
        return _parse(text, name)


@dataclass
class _Bundle:
    """Schemas of several files in one document: the first one, and the others under its $defs."""

    first: str
    names: dict[str, str] = field(default_factory=dict)  # in $defs, by the address of the file

    def load(self, load: Callable[[str], Any]) -> dict[str, Any]:
        schema = self._rewritten(_schema(load(self.first), self.first), self.first)
        documents: dict[str, Any] = {}
        while waiting := [name for name in self.names if self.names[name] not in documents]:
            for name in waiting:
                loaded = self._rewritten(_schema(load(name), name), name)
                documents[self.names[name]] = {k: v for k, v in loaded.items() if k not in ("$id", "id", "$schema")}
        if documents:
            own = _schema(schema.get("$defs", {}), f"$defs of {self.first}")
            schema = {**schema, "$defs": {**own, **documents}}
        return dict(schema)

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
        return f"#/$defs/{self.names.setdefault(target, f'file-{len(self.names) + 1}')}{pointer}"


def _beside(base: str, reference: str) -> str:
    """The address of a file that `base` refers to; raises BrokenRelease for one that is elsewhere."""
    try:
        if urlsplit(base).scheme:
            found = urljoin(base, reference)
            is_near = urlsplit(found)[:2] == urlsplit(base)[:2]
        else:
            found = os.path.normpath(os.path.join(os.path.dirname(base), reference))
            is_near = not urlsplit(reference).scheme and not os.path.isabs(reference)
    except ValueError:  # such as an address in brackets that is none
        is_near = False
    if is_near:
        return found
    raise BrokenRelease(
        f"{base} refers to {reference}.", "A release's files lie beside each other.", f"Correct {base}."
    )


def _schema(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BrokenRelease(f"{name} is not a JSON Schema.", "It is not an object.", f"Correct {name}.")
    return value


def _parse(text: str, name: str) -> Any:
    try:
        found = json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        where = f"Line {error.lineno}, column {error.colno}: {error.msg}."
        raise BrokenRelease(f"{name} is not JSON.", where, f"Correct {name}.") from error
    except ValueError as error:  # a number of thousands of digits, or none
        raise BrokenRelease(f"{name} is not JSON.", str(error), f"Correct {name}.") from error
    except RecursionError as error:
        raise _too_deep(name) from error
    _check_values(found, name)
    return found


def _refuse_constant(word: str) -> None:
    raise ValueError(f"{word} is not a number.")


def _check_values(value: Any, name: str) -> None:
    """Raises BrokenRelease for values that are too deep in each other, and for texts that no database takes."""
    level = [value]
    for _ in range(_MAX_DEPTH):
        if any(isinstance(each, str) and _UNSTORABLE.search(each) for each in level):
            raise BrokenRelease(f"{name} has a text that cannot be stored.", _WHAT_CANNOT, f"Correct {name}.")
        inner = [each if isinstance(each, list) else (*each, *each.values()) for each in level if _is_nested(each)]
        level = [each for values in inner for each in values]
        if not level:
            return
    raise _too_deep(name)


def _is_nested(value: Any) -> bool:
    return isinstance(value, dict | list)


def _too_deep(name: str) -> BrokenRelease:
    return BrokenRelease(f"{name} is nested too deeply.", f"{_MAX_DEPTH} levels are read.", f"Correct {name}.")
