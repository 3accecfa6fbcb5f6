"""Values of options as text: what goes in comes out, and no text can do more than be data."""

from typing import Any

import pytest

from slap.model.option import as_text, dumps, for_file, loads, plain, read

VALUES = [
    "",
    "plain",
    "two\nlines",
    " space ",
    "a\r[section:__import__('os').abort()]\n${a:b} $$ %(x)s é \u2028 !py!",
    "!py!['not', 'a list']",
    "\\$ \\x24 '\"",
    b"\x00$",
    None,
    True,
    1.5,
    [1, [2, {"a": (3, "${x:y}")}]],
    {"set": {"a"}, "empty": set()},
]


@pytest.mark.parametrize("value", VALUES)
def test_a_value_survives_as_text_and_in_a_file(value: Any) -> None:
    assert loads(dumps(value)) == value
    assert read(for_file(value)) == value


@pytest.mark.parametrize("value", VALUES)
def test_nothing_in_the_text_is_syntax_of_buildout(value: Any) -> None:
    text = dumps(value)
    assert text.isprintable() and text.isascii()
    assert "$" not in text and "%" not in text
    assert "\r" not in for_file(value) and "${" not in for_file(value)


@pytest.mark.parametrize(
    "text", ["!py!__import__('os')", "!py![x for x in ()]", "!py!1 +", "!py!" + "[" * 5000, "!py!"]
)
def test_text_that_is_no_literal_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a value"):
        loads(text)


class Loud(str):
    __slots__ = ()


def test_what_is_more_than_data_becomes_data_or_is_refused() -> None:
    assert type(plain([Loud("a")])[0]) is str
    for value in (object(), [len], float("inf"), {"a": float("nan")}):
        with pytest.raises(TypeError, match="Options can hold"):
            plain(value)
    nested: list[Any] = []
    for _ in range(100):
        nested = [nested]
    with pytest.raises(TypeError, match="nested"):
        plain(nested)


def test_in_the_middle_of_a_text_strings_stand_as_they_are() -> None:
    assert (as_text("a"), as_text([1])) == ("a", "!py![1]")
