"""What a service adds to its connection parameters while it runs."""

from pathlib import Path
from typing import Any

import pytest

from slap.model.node import PUBLISHED_FILE
from slap.node.partition.connection import connection_of, read_published
from slap.node.partition.folder import PartitionFolder, Partitions
from tests.unit.node.things import PART, a_config, a_record


@pytest.fixture
def folder(tmp_path: Path) -> PartitionFolder:
    made = Partitions(a_config(tmp_path)).get(PART)
    made.path.mkdir(parents=True)
    return made


@pytest.mark.parametrize(
    ("profile", "service", "told"),
    [
        (None, None, None),
        ({"url": "u"}, None, {"url": "u"}),
        ({"url": "u"}, '{"snapshots": [1]}', {"url": "u", "snapshots": [1]}),
        ({"url": "u"}, '{"url": "mine"}', {"url": "u"}),
        (None, '{"a": 1}', {"a": 1}),
        ({"url": "u"}, "[1]", {"url": "u"}),
        ({"url": "u"}, "{", {"url": "u"}),
        ({"url": "u"}, "[" * 50_000, {"url": "u"}),
        ({"url": "u"}, "", {"url": "u"}),
    ],
)
def test_what_is_told(folder: PartitionFolder, profile: Any, service: str | None, told: Any) -> None:
    if service is not None:
        (folder.path / PUBLISHED_FILE).write_text(service)
    assert connection_of(read_published(folder), a_record(connection=profile)) == told


@pytest.mark.parametrize(
    ("service", "fault"),
    [
        (f'{{"x": {10**30}}}', "x: an integer of more than 64 bits"),
        (f'{{"x": {10**400}}}', "x: an integer of more than 64 bits"),
        ('{"x": %s}' % ("9" * 5000), "is not JSON"),
        ('{"x": "\\ud800"}', "x: a text with U+D800"),
        ('{"a": {"x": "\\u0000"}}', "a.x: a text with U+0000"),
        ('{"x\\u0000": 1}', "its name is a text with U+0000"),
        ('{"x": NaN}', "x: a number that is not finite"),
        ('{"x": 1e999}', "x: a number that is not finite"),
        ('{"x": %s}' % ("[" * 300 + "]" * 300), "objects and lists in each other"),
        ("[" * 50_000, "is not JSON"),
        ("[1]", "valid dictionary"),
        ("null", "valid dictionary"),
        ("{", "is not JSON"),
    ],
)
def test_what_cannot_be_reported_is_a_fault_that_names_the_place(
    folder: PartitionFolder, service: str, fault: str
) -> None:
    (folder.path / PUBLISHED_FILE).write_text(service)
    published = read_published(folder)
    assert (published.parameters, fault in published.fault) == ({}, True), published.fault
    assert PUBLISHED_FILE in published.fault


def test_a_link_is_not_followed(folder: PartitionFolder, tmp_path: Path) -> None:
    (tmp_path / "other").write_text('{"secret": 1}')
    (folder.path / PUBLISHED_FILE).symlink_to(tmp_path / "other")
    published = read_published(folder)
    assert "is not read" in published.fault
    assert connection_of(published, a_record(connection={"url": "u"})) == {"url": "u"}
