"""Writing marshalled XML."""

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from slap.model.errors import InvalidInput
from slap.model.slapos.object import CLASSES, MODULE, SlapObject
from slap.system.marshal.read import DEEPEST

XML = "text/xml; charset=utf-8"  # with the character set: without one the client takes the text for Latin-1
_LONGEST_NAME = 64


def dumps(value: object) -> bytes:
    """A value as XML. What XML cannot carry, most control characters, becomes U+FFFD."""
    pieces = ["<marshal>"]
    _write(value, pieces.append, 0)
    pieces.append("</marshal>")
    return "".join(pieces).encode()


def unwrapped(document: bytes) -> bytes:
    """A written value as it is written within another one."""
    return document.removeprefix(b"<marshal>").removesuffix(b"</marshal>")


Put = Callable[[str], None]

_SPECIAL = re.compile("[&<>\r\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_ESCAPES = {"&": "&amp;amp;", "<": "&amp;lt;", ">": "&amp;gt;", "\r": "&#13;"}


def _escape(text: str) -> str:
    return _SPECIAL.sub(lambda found: _ESCAPES.get(found[0], "\ufffd"), text)


def _string_piece(text: str) -> str:
    return f"<string>{_escape(text) if _SPECIAL.search(text) else text}</string>"


# The names in dictionaries are few, and written thousands of times.
_name_piece = lru_cache(maxsize=1024)(_string_piece)


def _write(value: Any, put: Put, depth: int) -> None:
    kind = type(value)
    if kind is str:
        put(_string_piece(value))
        return
    if depth > DEEPEST:
        raise InvalidInput("A value cannot be sent to a node.", f"It is more than {DEEPEST} levels deep.")
    writer = _WRITERS.get(kind) or _inherited_writer(value)
    writer(value, put, depth + 1)


def _write_string(value: str, put: Put, depth: int) -> None:
    put(_string_piece(str(value)))


def _write_int(value: int, put: Put, depth: int) -> None:
    put(f"<int>{int(value)}</int>" if -1e24 < value < 1e24 else f"<long>{int(value)}</long>")


def _write_bool(value: bool, put: Put, depth: int) -> None:
    put(f"<bool>{int(value)}</bool>")


def _write_float(value: float, put: Put, depth: int) -> None:
    put(f"<float>{value!r}</float>")


def _write_none(value: None, put: Put, depth: int) -> None:
    put("<none/>")


def _write_list(value: list[Any], put: Put, depth: int) -> None:
    put("<list>")
    for each in value:
        _write(each, put, depth)
    put("</list>")


def _write_tuple(value: tuple[Any, ...], put: Put, depth: int) -> None:
    put("<tuple>")
    for each in value:
        _write(each, put, depth)
    put("</tuple>")


def _write_dictionary(value: Mapping[Any, Any], put: Put, depth: int) -> None:
    put("<dictionary>")
    for key, each in value.items():
        if type(key) is str and len(key) <= _LONGEST_NAME:
            put(_name_piece(key))
        else:
            _write(key, put, depth)
        if type(each) is str:
            put(_string_piece(each))
        else:
            _write(each, put, depth)
    put("</dictionary>")


def _write_object(value: SlapObject, put: Put, depth: int) -> None:
    put(f'<object module="{MODULE}" class="{value.class_name}">')
    _write_tuple(tuple(value.attributes.get(name) for name in CLASSES[value.class_name]), put, depth)
    _write_dictionary(value.attributes, put, depth)
    put("</object>")


_WRITERS: dict[type, Callable[[Any, Put, int], None]] = {
    str: _write_string,
    int: _write_int,
    bool: _write_bool,
    float: _write_float,
    type(None): _write_none,
    list: _write_list,
    tuple: _write_tuple,
    dict: _write_dictionary,
    SlapObject: _write_object,
}


def _inherited_writer(value: object) -> Callable[[Any, Put, int], None]:
    """That of a subclass, an enum of strings for instance."""
    for kind, writer in _WRITERS.items():
        if isinstance(value, kind):
            return writer
    raise TypeError(f"{type(value).__name__} cannot be marshalled")
