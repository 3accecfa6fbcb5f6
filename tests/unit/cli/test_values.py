"""Values as people read them."""

from typing import Any

import pytest

from slap.cli.values import in_words

MACHINES = {
    "vm-1": {"ssh-command": "ssh -p 10022 root@2001:db8::2", "ports": {"22": "[2001:db8::2]:10022", "80": "..."}},
    "db": {"ssh-command": "ssh -p 10022 root@2001:db8::30", "ports": {"22": "..."}, "cpu": 2, "note": "two\nlines"},
}


def test_objects_of_one_shape_are_a_table() -> None:
    assert in_words(MACHINES).splitlines() == [
        "      ssh-command                     ports   cpu  note",
        "vm-1  ssh -p 10022 root@2001:db8::2   22, 80",
        "db    ssh -p 10022 root@2001:db8::30  22      2    two lines",
    ]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("text", "text"),
        ("two\nlines", "two\nlines"),
        (3, "3"),
        (None, "null"),
        ([1, "é"], '[\n  1,\n  "é"\n]'),
        ({}, "{}"),
        ({"a": "b"}, '{\n  "a": "b"\n}'),
        ({"a": {"b": 1}, "c": 2}, '{\n  "a": {\n    "b": 1\n  },\n  "c": 2\n}'),
        ({"a": {}}, '{\n  "a": {}\n}'),
    ],
)
def test_others_are_text_or_json(value: Any, words: str) -> None:
    assert in_words(value) == words
