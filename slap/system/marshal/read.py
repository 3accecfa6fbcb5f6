"""Reading marshalled XML, which comes from strangers.

No document type, no entities, no classes but four, and bounds on size, depth and count.
"""

import math
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from xml.parsers import expat

from slap.model.errors import InvalidInput
from slap.model.slapos.object import CLASSES, MODULE, SlapObject

LARGEST = 64 << 20  # bytes: the state of 20,000 partitions is less
DEEPEST = 100
_MOST_VALUES = 4_000_000
# So many are taken of the shortest text; otherwise no more than it has bytes.
_FEW_VALUES = 10_000


def loads(data: bytes | str, largest: int = LARGEST) -> Any:
    """The value in a document; raises InvalidInput that says what is wrong with it."""
    if isinstance(data, str):
        data = data.encode(errors="surrogatepass")
    if len(data) > largest:
        raise _unreadable(f"It has {len(data)} bytes; {largest} are the most that is taken.")
    return _Reader(min(_MOST_VALUES, max(_FEW_VALUES, len(data)))).read(data)


@dataclass(slots=True)
class _Open:
    """An element whose end has not come yet; `weight` counts the values in it, those of references included."""

    tag: str
    attributes: dict[str, str]
    items: list[Any] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    weight: int = 1


class _Reader:
    """Reads one document, building values as elements end: at most so many."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._stack = [_Open("", {})]
        self._known: dict[str, tuple[Any, int]] = {}
        self._weight = 0

    def read(self, data: bytes) -> Any:
        # The encoding is fixed: neither a declaration nor a byte order mark can choose another one.
        parser = expat.ParserCreate("utf-8")
        parser.buffer_text = True
        parser.StartDoctypeDeclHandler = _refuse_doctype
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters
        try:
            if data[:2] in (BOM_UTF16_LE, BOM_UTF16_BE):
                raise _unreadable("It is in UTF-16; UTF-8 is read.")
            parser.Parse(data, True)
        except expat.ExpatError as error:
            raise _unreadable(f"It is not XML: {error}.") from error
        return self._stack[0].items[0]

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        parent = self._stack[-1].tag
        if tag not in _BUILDERS and tag != "reference":
            raise _unreadable(f"It has an element <{tag[:40]}>, which is none of this format.")
        if parent not in _CONTAINERS or (tag == "marshal") != (parent == ""):
            raise _unreadable(f"<{tag}> is not expected in {f'<{parent}>' if parent else 'the place of <marshal>'}.")
        if len(self._stack) > DEEPEST:
            raise _unreadable(f"It is more than {DEEPEST} levels deep.")
        self._stack.append(_Open(tag, attributes))

    def _characters(self, text: str) -> None:
        self._stack[-1].text.append(text)

    def _end(self, tag: str) -> None:
        done = self._stack.pop()
        value = self._meant(done) if tag == "reference" else _BUILDERS[tag](done)
        self._count(done.weight if tag == "reference" else 1)
        if tag in _CONTAINERS and "id" in done.attributes:
            self._known[done.attributes["id"]] = (value, done.weight)
        self._stack[-1].items.append(value)
        self._stack[-1].weight += done.weight

    def _meant(self, reference: _Open) -> Any:
        """What a reference stands for: something that is complete, so never what it is itself a part of."""
        name = reference.attributes.get("id", "")
        if name not in self._known:
            raise _unreadable(f"It refers to {name[:40]!r}, which is not there before.")
        value, reference.weight = self._known[name]
        return value

    def _count(self, more: int) -> None:
        """References make a small text a huge value, so they count as what they stand for."""
        self._weight += more
        if self._weight > self._most:
            raise _unreadable(f"It has more than {self._most} values.")


def _refuse_doctype(*_: object) -> None:
    raise _unreadable("It has a document type, and with it perhaps entities.")


def _unreadable(reason: str) -> InvalidInput:
    return InvalidInput("A marshalled value cannot be read.", reason, "Send what xml_marshaller writes.")


def _text(element: _Open) -> str:
    return "".join(element.text)


def _string(element: _Open) -> str:
    text = _text(element)
    return text.replace("&gt;", ">").replace("&lt;", "<").replace("&amp;", "&") if "&" in text else text


def _int(element: _Open) -> int:
    try:
        return int(_text(element))
    except ValueError as error:
        raise _unreadable(f"{_text(element)[:40]!r} is not a number.") from error


def _bool(element: _Open) -> bool:
    return bool(_int(element))


def _float(element: _Open) -> float:
    try:
        number = float(_text(element))
    except ValueError as error:
        raise _unreadable(f"{_text(element)[:40]!r} is not a number.") from error
    if not math.isfinite(number):
        raise _unreadable(f"{number} is not a finite number.")
    return number


def _none(element: _Open) -> None:
    return None


def _list(element: _Open) -> list[Any]:
    return element.items


def _tuple(element: _Open) -> tuple[Any, ...]:
    return tuple(element.items)


def _dictionary(element: _Open) -> dict[Any, Any]:
    if len(element.items) % 2:
        raise _unreadable("A dictionary has a key without a value.")
    try:
        return dict(zip(element.items[::2], element.items[1::2], strict=True))
    except TypeError as error:
        raise _unreadable("A dictionary has a key that is neither a string nor a number.") from error


def _object(element: _Open) -> SlapObject:
    where, name = element.attributes.get("module"), element.attributes.get("class", "")
    if where != MODULE or name not in CLASSES:
        raise _unreadable(f"It has an object of class {f'{where}.{name}'[:80]!r}, which is none of SlapOS's.")
    match element.items:
        case [tuple() as arguments, dict() as attributes] if len(arguments) <= len(CLASSES[name]):
            return SlapObject(name, dict(zip(CLASSES[name], arguments, strict=False)) | attributes)
        case _:
            raise _unreadable(f"An object of class {name} is not made of its arguments and its attributes.")


def _marshal(element: _Open) -> Any:
    if len(element.items) != 1:
        raise _unreadable(f"<marshal> has {len(element.items)} values in place of one.")
    return element.items[0]


_BUILDERS: dict[str, Callable[[_Open], Any]] = {
    "marshal": _marshal,
    "string": _string,
    "unicode": _string,
    "int": _int,
    "long": _int,
    "bool": _bool,
    "float": _float,
    "none": _none,
    "list": _list,
    "tuple": _tuple,
    "dictionary": _dictionary,
    "object": _object,
}
_CONTAINERS = frozenset(("", "marshal", "list", "tuple", "dictionary", "object"))
