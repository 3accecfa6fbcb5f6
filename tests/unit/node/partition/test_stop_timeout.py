"""How long a service may take to end is read from beside it, and told to supervisord."""

from pathlib import Path

import pytest

from slap.model.errors import InvalidInput
from slap.node.buildout.installed import read_installed
from slap.node.partition.supervision import group_text, partition_programs
from tests.unit.node.things import PART, a_config


def installed_in(folder: Path, settings: str) -> Path:
    for name in ("service", "run", "promise", "plugin", "cron.d"):
        (folder / "etc" / name).mkdir(parents=True)
    for name in ("slow", "quick"):
        (folder / "etc/service" / name).write_text("#!/bin/sh\n")
    (folder / "etc/service/.slow.json").write_text(settings)
    return folder


def test_a_slow_service_is_waited_for(tmp_path: Path) -> None:
    installed = read_installed(installed_in(tmp_path, '{"stop_timeout": 75}'))
    text = group_text(PART, partition_programs(a_config(tmp_path), PART, "", installed))
    waits = {part.splitlines()[0].rstrip("]").rpartition(".")[2]: part for part in text.split("[program:")[1:]}
    assert "stopwaitsecs = 75" in waits["slow"]
    assert "stopwaitsecs = 10" in waits["quick"]


@pytest.mark.parametrize("settings", ["{", '{"stop_timeout": 0}', '{"stop_timeout": 4000}', '{"colour": 1}'])
def test_settings_that_are_wrong_are_told(tmp_path: Path, settings: str) -> None:
    with pytest.raises(InvalidInput, match=r"\.slow\.json is wrong"):
        read_installed(installed_in(tmp_path, settings))
