"""The shape of JSON documents, before models are made of them.

A model makes an error of each field that it does not know. A body of some MiB would become GiB of errors, and the event
loop would stand still for as long.
"""

import json
from typing import Any

from slap.model.errors import InvalidInput, TooLarge

_FEW_VALUES = 5000  # these make no more errors than anybody may make
_MAX_MEMBERS = 5000
_FREE = frozenset(("parameters", "connection", "connection_parameters"))  # values of users, which are judged as such


def check_json(body: bytes, max_values: int) -> None:
    """Raise TooLarge for more values than are taken, InvalidInput for an object with more members than any model has.

    What is not JSON is left to whoever reads it.
    """
    values = body.count(b",") + body.count(b"[") + body.count(b"{")
    if values > max_values:
        raise TooLarge(
            f"The document has more than {max_values} values.", "", "Send it in parts, or leave something out."
        )
    if values <= _FEW_VALUES:
        return
    try:
        level = [json.loads(body)]
    except (ValueError, RecursionError):
        return
    level = [each for each in level if isinstance(each, dict | list)]
    while level:
        level = [each for value in level for each in _inside(value)]


def _inside(value: Any) -> list[Any]:
    """The objects and lists in an object or a list, but for what is free."""
    if isinstance(value, list):
        return [each for each in value if isinstance(each, dict | list)]
    if len(value) > _MAX_MEMBERS:
        raise InvalidInput(f"An object of this document has more than {_MAX_MEMBERS} members.", "", "Leave some out.")
    return [each for name, each in value.items() if name not in _FREE and isinstance(each, dict | list)]
