"""XML from others, parsed in one place: UTF-8 without a document type, of limited size, depth and number of elements."""

from typing import Any
from xml.etree.ElementTree import Element, ParseError, TreeBuilder

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser

MAX_BYTES = 16 << 20
MAX_ELEMENTS = 100_000
MAX_DEPTH = 50


def parse_xml(text: str | bytes, max_bytes: int = MAX_BYTES, max_elements: int = MAX_ELEMENTS) -> Element:
    """The root of a document; raises ValueError, which says what is wrong with it."""
    data = text.encode() if isinstance(text, str) else text
    if len(data) > max_bytes:
        raise ValueError(f"it has {len(data)} bytes, and {max_bytes} are the most that is read")
    data.decode()  # a byte order mark would choose UTF-16, whatever encoding the parser is given
    parser = DefusedXMLParser(target=_LimitedBuilder(max_elements), encoding="utf-8", forbid_dtd=True)
    try:
        parser.feed(data)
        root: Element = parser.close()
    except DefusedXmlException as error:
        raise ValueError("it has a document type or entities, which are not read") from error
    except ParseError as error:
        raise ValueError(f"it is not XML in UTF-8: {error}") from error
    return root


class _LimitedBuilder(TreeBuilder):
    """Builds a tree until it is too deep or has too many elements; attributes count as elements."""

    def __init__(self, max_elements: int) -> None:
        super().__init__()
        self._max_elements = max_elements
        self._elements = 0
        self._depth = 0

    def start(self, tag: Any, attrs: Any, /) -> Element:
        self._depth += 1
        self._elements += 1 + len(attrs)
        if self._depth > MAX_DEPTH:
            raise ValueError(f"it is more than {MAX_DEPTH} levels deep")
        if self._elements > self._max_elements:
            raise ValueError(f"it has more than {self._max_elements} elements")
        return super().start(tag, attrs)

    def end(self, tag: str, /) -> Element:
        self._depth -= 1
        return super().end(tag)
