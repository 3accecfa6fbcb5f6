"""The marshalled XML of SlapOS: what its own package wrote is read, and nothing hostile is."""

from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest

from slap.model.errors import InvalidInput
from slap.system.marshal import SlapObject, dumps, loads

# Written by slapos.core 1.26.1 with xml_marshaller 1.0.3: its proxy's answers, and what its clients and nodes send.
RECORDED = Path(__file__).parent / "recorded"


def recorded(name: str) -> Any:
    return loads((RECORDED / f"{name}.xml").read_bytes())


def wrapped(words: str) -> str:
    return f"<marshal>{words}</marshal>"


@pytest.mark.parametrize("name", ["computer", "format", "instance", "parameters", "values"])
def test_what_slapos_wrote_is_read_and_written_again(name: str) -> None:
    assert loads(dumps(recorded(name))) == recorded(name)


def test_values_of_all_kinds_are_those_that_were_sent() -> None:
    found = recorded("values")
    text = "]]> &amp; \t\r\n é"
    assert found["x"] == [1.5, -3, 10**30, True, False, None, "", (1, ("a",)), text]
    assert [type(each) for each in found["x"][3:5]] == [bool, bool]
    # The second is a reference to the first.
    assert found["again"] == [{"same": [1]}, {"same": [1]}]
    assert found["again"][0] is found["again"][1]


def test_a_computer_has_its_partitions_and_releases_in_it() -> None:
    computer = recorded("computer")
    first = computer.attributes["_computer_partition_list"][0]
    assert computer.class_name == "Computer"
    assert first.attributes["_partition_id"] == "slappart0"
    assert first.attributes["_connection_dict"] == {"url": "http://[2001:db8::1]:80/?a=1&b=2"}
    assert first.attributes["_parameter_dict"]["ip_list"] == [("slaptap0", "10.0.1.0"), ("slaptap0", "2001:db8::1")]
    assert first.attributes["_software_release_document"].attributes["_computer_guid"] == "local_computer"


def test_markup_in_strings_is_escaped_twice_as_the_format_has_it() -> None:
    assert dumps("<a> & b") == b"<marshal><string>&amp;lt;a&amp;gt; &amp;amp; b</string></marshal>"
    assert loads(dumps("&lt; &amp;amp; <![CDATA[x]]>")) == "&lt; &amp;amp; <![CDATA[x]]>"


def test_what_xml_cannot_carry_does_not_spoil_the_document() -> None:
    assert loads(dumps("a\x00b\x1b[0m \ud800 \uffff")) == "a�b�[0m � �"


def test_an_object_repeats_the_arguments_of_its_constructor() -> None:
    release = SlapObject("SoftwareRelease", {"_software_release": "u", "_computer_guid": "COMP-1"})
    words = dumps(release)
    assert b'class="SoftwareRelease"><tuple><string>u</string><string>COMP-1</string></tuple><dictionary>' in words
    assert loads(words) == release
    only = words.replace(b"<string>_software_release</string><string>u</string>", b"")
    assert loads(only).attributes == release.attributes


def test_a_string_that_is_also_something_else_is_a_string() -> None:
    class Colour(StrEnum):
        RED = "red"

    assert loads(dumps({"colour": Colour.RED})) == {"colour": "red"}


def test_values_that_nobody_can_read_are_not_written() -> None:
    with pytest.raises(TypeError, match="object"):
        dumps(object())
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(InvalidInput, match="cannot be sent"):
        dumps(endless)


ENTITIES = '<!DOCTYPE m [<!ENTITY a "ha">]><marshal><string>&a;</string></marshal>'
CIRCLE = '<list id="i1"><reference id="i1"/></list>'
# Each list holds the one before it twice: 2**60 values.
LAUGHS = "<list><list id='i0'><none/></list>" + "".join(
    f"<list id='i{n}'><reference id='i{n - 1}'/><reference id='i{n - 1}'/></list>" for n in range(1, 60)
)

HOSTILE = {
    "nothing": ("", "not XML"),
    "not XML": ("{}", "not XML"),
    "half of it": ("<marshal><string>x", "not XML"),
    "two of them": ("<marshal><none/></marshal><marshal/>", "not XML"),
    "another root": ("<list/>", "not expected"),
    "a root within": (wrapped(wrapped("<none/>")), "not expected"),
    "no value": ("<marshal/>", "0 values"),
    "two values": (wrapped("<none/><none/>"), "2 values"),
    "a document type": (ENTITIES, "document type"),
    "an entity of its own": (wrapped("<string>&a;</string>"), "not XML"),
    "an unknown element": (wrapped("<script/>"), "none of this format"),
    "code": (wrapped("<code>4wAAAA==</code>"), "none of this format"),
    "a value in a string": (wrapped("<string><none/></string>"), "not expected in <string>"),
    "another class": (wrapped('<object module="os" class="system"><tuple/><dictionary/></object>'), "os.system"),
    "another of its classes": (
        wrapped('<object module="slapos.slap.slap" class="slap"><tuple/><dictionary/></object>'),
        "slapos.slap.slap.slap",
    ),
    "no class": (wrapped("<object><tuple/><dictionary/></object>"), "class"),
    "an object of parts": (
        wrapped('<object module="slapos.slap.slap" class="Computer"><list/></object>'),
        "not made of",
    ),
    "too many arguments": (
        wrapped(
            '<object module="slapos.slap.slap" class="SoftwareInstance"><tuple><int>1</int></tuple><dictionary/></object>'
        ),
        "not made of",
    ),
    "a key without a value": (wrapped("<dictionary><string>a</string></dictionary>"), "key without"),
    "a list as a key": (wrapped("<dictionary><list/><none/></dictionary>"), "neither a string"),
    "an int that is none": (wrapped("<int>seven</int>"), "'seven' is not a number"),
    "an endless int": (wrapped(f"<int>{'9' * 10_000}</int>"), "is not a number"),
    "a bool that is none": (wrapped("<bool>yes</bool>"), "is not a number"),
    "not a number": (wrapped("<float>nan</float>"), "not a finite number"),
    "infinity": (wrapped("<float>1e999</float>"), "not a finite number"),
    "a reference to nothing": (wrapped('<reference id="i7"/>'), "i7"),
    "a reference to itself": (wrapped(CIRCLE), "not there before"),
    "a few laughs": (wrapped(LAUGHS[: LAUGHS.index("<list id='i18'>")] + "</list>"), "more than 10000 values"),
    "a billion laughs by references": (wrapped(LAUGHS + "</list>"), "more than"),
    "very deep": (wrapped("<list>" * 100_000), "levels deep"),
}


@pytest.mark.parametrize("words, reason", HOSTILE.values(), ids=HOSTILE)
def test_hostile_documents_are_refused_with_the_reason(words: str, reason: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        loads(words)
    assert reason in str(caught.value)


def test_a_document_cannot_choose_its_encoding() -> None:
    assert loads('<?xml version="1.0" encoding="latin-1"?>' + wrapped("<string>é</string>")) == "é"


def test_a_document_that_is_too_large_is_not_even_read() -> None:
    with pytest.raises(InvalidInput, match="cannot be read") as caught:
        loads(wrapped(f"<string>{'x' * 1000}</string>"), largest=1000)
    assert "1000 are the most" in caught.value.details
