"""Parameters as a document: JSON, YAML, or the XML in which SlapOS keeps them."""

import json
from collections.abc import Callable, Mapping
from pathlib import PurePath
from typing import Any

import yaml

from slap.model.errors import UsageError
from slap.model.slapos.xml import parse_xml


def parse_file(text: str, name: str) -> dict[str, Any]:
    """The parameters in a file, whose name says what it is written in; JSON when it says nothing."""
    return _READERS.get(PurePath(name).suffix.lower(), parse_document)(text, name)


def parse_document(text: str, source: str) -> dict[str, Any]:
    """One JSON object."""
    try:
        value = strict_json(text)
    except ValueError as error:
        hint = "Correct it; a shell takes quotes away unless the whole is within '...'."
        raise UsageError(f"{source} is not JSON.", str(error), hint) from error
    return _object(value, source)


def strict_json(text: str) -> Any:
    """JSON without the NaN and Infinity that Python would let through."""
    return json.loads(text, parse_constant=_refuse)


def _yaml_document(text: str, source: str) -> dict[str, Any]:
    try:
        value = yaml.safe_load(text)
        return _object(strict_json(json.dumps(value, allow_nan=False)), source)
    except yaml.YAMLError as error:
        raise UsageError(f"{source} is not YAML.", str(error), "Correct it.") from error
    except (TypeError, ValueError) as error:
        hint = "Put dates and the like into quotes: parameters are what JSON can say."
        raise UsageError(f"{source} holds something that parameters cannot be.", f"{error}.", hint) from error


def _xml_document(text: str, source: str) -> dict[str, Any]:
    """`<parameter id="KEY">TEXT</parameter>` in an element of any name. Entities have no place here."""
    try:
        root = parse_xml(text)
        found = [(each.attrib["id"], each.text or "") for each in root.findall("parameter")]
    except ValueError as error:
        raise UsageError(f"{source} is not XML with parameters.", str(error), "Correct it.") from error
    except KeyError as error:
        raise UsageError(f"{source}: a parameter has no id.", resolution='Write <parameter id="KEY">.') from error
    return dict(found)


_READERS: Mapping[str, Callable[[str, str], dict[str, Any]]] = {
    ".yaml": _yaml_document,
    ".yml": _yaml_document,
    ".xml": _xml_document,
}


def _object(value: Any, source: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UsageError(f"{source} is not a JSON object.", 'It should look like {"key": "value"}.')
    return value


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON value")
