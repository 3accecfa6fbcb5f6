"""Parameters as the classic protocol of SlapOS has them: flat strings, or one string with all of them as JSON.

The second form, {"_": "{\\"port\\": 80}"}, is SlapOS's "json-in-xml". The master keeps the plain object whatever came, and
gives it out in the form that the reader expects.
"""

import json
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from slap.model.values import Parameters

_KEY = "_"


class Serialisation(StrEnum):
    """How parameters travel on the classic protocol; NONE: nobody said."""

    NONE = ""
    FLAT = "xml"
    JSON = "json-in-xml"


def is_wrapped(values: Mapping[str, Any]) -> bool:
    """Whether these are one string and nothing else, under the name that means JSON."""
    return len(values) == 1 and isinstance(values.get(_KEY), str)


def unwrap(values: Mapping[str, Any]) -> tuple[Parameters, Serialisation]:
    """The plain object, and the form in which it came, if that cannot be told from the object.

    SlapOS makes strings of flat values that are none: such an object must be known to have come flat. What is under the
    name that means JSON and is not the JSON text of an object stays as it is.
    """
    if not is_wrapped(values):
        return dict(values), Serialisation.NONE if _are_strings(values) else Serialisation.FLAT
    try:
        plain = json.loads(values[_KEY])
    except (ValueError, RecursionError):
        return dict(values), Serialisation.NONE
    return (plain, Serialisation.JSON) if isinstance(plain, dict) else (dict(values), Serialisation.NONE)


def wrap(values: Mapping[str, Any], *forms: Serialisation) -> dict[str, str]:
    """The form in which a classic client or node is given an object: the first of the forms that says one.

    When none does, it is flat, unless some value is not a string.
    """
    said = next((form for form in forms if form), Serialisation.NONE)
    is_flat = said is Serialisation.FLAT or (not said and _are_strings(values))
    if is_flat or is_wrapped(values):
        return {name: value if isinstance(value, str) else json.dumps(value) for name, value in values.items()}
    return {_KEY: json.dumps(values, sort_keys=True)}


def _are_strings(values: Mapping[str, Any]) -> bool:
    return all(isinstance(value, str) for value in values.values())
