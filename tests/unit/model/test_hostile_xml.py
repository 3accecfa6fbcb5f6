"""XML that was made to take memory or to read files is refused, whatever it is encoded in."""

import re

import pytest

from slap.model.errors import InvalidInput
from slap.model.slapos.xml import MAX_DEPTH, parse_xml
from slap.model.tioxml import read_journal
from slap.system.marshal import loads
from tests.house.sources import measured_code

BOMB = """<?xml version="1.0" encoding="{encoding}"?><!DOCTYPE a [<!ENTITY b "{text}"><!ENTITY c "&b;&b;&b;">]><a>&c;</a>"""
ENTITY = BOMB.format(encoding="utf-8", text="x")

HOSTILE = [
    pytest.param(ENTITY.encode(), id="entities"),
    pytest.param(b'\xef\xbb\xbf<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>', id="document type behind a mark"),
    pytest.param(b'<!DOCTYPE a PUBLIC "-" "http://127.0.0.1/"><a/>', id="document type far away"),
    *(
        pytest.param(BOMB.format(encoding=encoding, text="x").encode(encoding), id=encoding)
        for encoding in ("utf-16", "utf-16-le", "utf-16-be", "utf-7", "cp037", "utf-32")
    ),
    pytest.param("<a>é</a>".encode("latin-1"), id="not UTF-8"),
    pytest.param('<?xml version="1.0" encoding="utf-16"?><a/>'.encode("utf-16"), id="UTF-16 without a document type"),
    pytest.param("<a>\ud800</a>".encode(errors="surrogatepass"), id="lone surrogate"),
    pytest.param(b"<a>" * (MAX_DEPTH + 1) + b"</a>" * (MAX_DEPTH + 1), id="too deep"),
    pytest.param(b"<a>" + b"<b/>" * 1000 + b"</a>", id="too many elements"),
    pytest.param(b"<a " + b" ".join(b'b%d=""' % number for number in range(1000)) + b"/>", id="too many attributes"),
    pytest.param(b"<a>" + b" " * 20_000 + b"</a>", id="too large"),
    pytest.param(b"<a>", id="cut off"),
    pytest.param(b"", id="empty"),
]


@pytest.mark.parametrize("document", HOSTILE)
def test_hostile_xml_is_refused(document: bytes) -> None:
    with pytest.raises(ValueError):
        parse_xml(document, max_bytes=15_000, max_elements=500)


@pytest.mark.parametrize("document", HOSTILE)
def test_no_journal_is_hostile_xml(document: bytes) -> None:
    if b"<b/>" in document or b"b1=" in document or b" " * 100 in document:
        assert read_journal(document) == {}  # a journal may be larger
    else:
        with pytest.raises(InvalidInput, match="cannot be read"):
            read_journal(document)


@pytest.mark.parametrize("document", HOSTILE)
def test_no_marshalled_value_is_hostile_xml(document: bytes) -> None:
    with pytest.raises(InvalidInput):
        loads(document)


def test_a_marshalled_value_is_in_utf_8() -> None:
    with pytest.raises(InvalidInput, match="UTF-16"):
        loads("<marshal><int>1</int></marshal>".encode("utf-16"))


def test_xml_in_utf_8_is_parsed() -> None:
    root = parse_xml('<?xml version="1.0" encoding="utf-8"?><a b="1">é<c/></a>')
    assert (root.get("b"), root.text, len(root)) == ("1", "é", 1)


def test_xml_is_parsed_in_two_places() -> None:
    parses = re.compile(r"\b(fromstring|iterparse|minidom|pulldom|expat\.ParserCreate|lxml|DefusedXMLParser)\b")
    found = {
        source.name for source in measured_code() if source.name.startswith("slap/") and parses.search(source.text)
    }
    assert found - {"slap/system/libvirt/fake.py"} == {"slap/model/slapos/xml.py", "slap/system/marshal/read.py"}
