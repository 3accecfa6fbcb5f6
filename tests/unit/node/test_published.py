"""What a service adds to its connection parameters while it runs."""

from pathlib import Path
from typing import Any

import pytest

from slap.model.node import PUBLISHED_FILE
from slap.node.partition.folder import PartitionFolder, Partitions
from slap.node.partition.published import connection_of
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
    assert connection_of(folder, a_record(connection=profile)) == told


def test_a_link_is_not_followed(folder: PartitionFolder, tmp_path: Path) -> None:
    (tmp_path / "other").write_text('{"secret": 1}')
    (folder.path / PUBLISHED_FILE).symlink_to(tmp_path / "other")
    assert connection_of(folder, a_record(connection={"url": "u"})) == {"url": "u"}
