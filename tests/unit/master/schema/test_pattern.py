"""Patterns of schemas mean what ECMA 262 says, or are refused in words."""

import pytest

from slap.master.schema.pattern import PatternError, normalise_pattern
from slap.master.schema.validator import UnusableSchema, compile_schema


def _matches(pattern: str, text: str) -> bool:
    return compile_schema({"pattern": pattern}).is_valid(text)


@pytest.mark.parametrize(
    ("pattern", "taken", "refused"),
    [
        ("^[a-z]+$", ["abc"], ["abc\n", "", "Abc"]),
        (r"^\d+$", ["123"], ["\u0663", ""]),
        (r"^\D$", ["\u0663"], ["1"]),
        (r"^\w+$", ["a_1"], ["é"]),
        (r"^[\W]$", ["é", "-"], ["a"]),
        (r"^\s$", ["\ufeff", "\u2028", "\xa0", " "], ["\x1c", "\x85", "\u180e"]),
        (r"^[^\s]$", ["\x1c"], ["\ufeff"]),
        (r"^.$", ["\x85", "😀"], ["\n", "\r", "\u2028", "\u2029"]),
        (r"\bx", ["x", "éx", "-x"], ["ax"]),
        (r"a\Bb", ["ab"], ["a b"]),
        (r"^[\b]$", ["\b"], ["b"]),
        ("^[^]$", ["\n"], [""]),
        ("a[]", [], ["a", "a[]"]),
        (r"^\p{L}+$", ["été"], ["1"]),
        (r"^\P{L}$", ["1"], ["é"]),
        (r"^\p{Script=Greek}$", ["\u03b1"], ["a"]),
        (r"^\cJ\0\x41\u0042\t$", ["\n\0AB\t"], []),
        (r"^\u{1F600}$", ["😀"], []),
        (r"^\ud83d\ude00$", ["😀"], []),
        (r"^[\u{1F600}-\u{1F64F}]$", ["😁"], ["a"]),
        (r"^\/\.\-\_\@$", ["/.-_@"], []),
        ("^(?<name>a)+$", ["aa"], ["b"]),
        ("^(?:a|b){1,2}?$", ["ab"], ["abc"]),
        ("^(?!no)[a-z]+(?<!x)$", ["yes"], ["nono", "ax"]),
        ("^[a&&b~~[-]+$", ["&-~["], ["c"]),
        (r"^[\d-x]+$", ["1-x"], ["a"]),
        ("^x{,3}{$", ["x{,3}{"], ["xx{"]),
        ("^(a+)+$", ["a" * 40], ["a" * 5000 + "!"]),
        ("^(a|a)*$", ["a" * 40], ["a" * 5000 + "!"]),
    ],
)
def test_a_pattern_takes_what_ecma_262_says(pattern: str, taken: list[str], refused: list[str]) -> None:
    assert [text for text in taken if not _matches(pattern, text)] == []
    assert [text for text in refused if _matches(pattern, text)] == []


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("((", "a group is not closed"),
        ("a)", "there is no group to close"),
        ("[a", "a class is not closed"),
        ("[b-a]", "the range b-a is out of order"),
        ("*", r"nothing that \* could repeat"),
        ("a**", r"nothing that \* could repeat"),
        ("(?=a)*", r"nothing that \* could repeat"),
        ("(?i)a", r"nothing that \? could repeat"),
        ("(?P<x>a)", r"nothing that \? could repeat"),
        ("a{2,1}", "out of order"),
        (r"(a)\1", "backreference"),
        (r"(?<x>a)\k<x>", "backreference"),
        ("(?<x>a)(?<x>b)", "second group has the name x"),
        (r"^a\Z", r"\\Z is no escape"),
        ("a\\", "backslash is the end"),
        (r"\ud800", "surrogate"),
        (r"\u{110000}", "no such character"),
    ],
)
def test_what_is_no_pattern_is_refused_in_words(pattern: str, reason: str) -> None:
    with pytest.raises(PatternError, match=reason):
        normalise_pattern(pattern)


def test_the_place_of_a_refused_pattern_is_named_and_data_is_left_alone() -> None:
    with pytest.raises(UnusableSchema, match=r"^\$\.properties\.a\.pattern: '\(\(' is not a pattern"):
        compile_schema({"properties": {"a": {"pattern": "(("}}})
    with pytest.raises(UnusableSchema, match="Two of its patterns mean the same"):
        compile_schema({"patternProperties": {r"\/": {}, "/": {}}})
    compile_schema({"default": {"pattern": "(("}, "properties": {"pattern": {"const": {"pattern": "[[\\"}}}})
