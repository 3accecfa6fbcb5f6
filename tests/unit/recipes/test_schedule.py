"""cron and logrotate."""

import pytest

from slap.recipes.common.base import RecipeError
from slap.system.process import Command, SystemRunner
from tests.unit.recipes.instance import Partition


def run(partition: Partition, recipe: str, options: str) -> None:
    partition.run(f"[buildout]\nparts = nightly\n[nightly]\nrecipe = slap:{recipe}\n{options}\n")


def test_a_line_runs_a_program_as_long_as_the_part_is_there(partition: Partition) -> None:
    run(partition, "cron", "time =  30  4 * * 1-5\ncommand-line = /bin/echo '50%'\nenvironment.A = 1\n")
    program = partition.folder / "bin/nightly"
    assert partition.text("etc/cron.d/nightly") == f"30 4 * * 1-5 {program}\n"
    assert SystemRunner().run(Command((str(program),))).check().stdout == "50%\n"
    partition.run("[buildout]\nparts =\n")
    assert [path for path in partition.folder.rglob("*nightly*") if path.is_file()] == []


@pytest.mark.parametrize(
    ("time", "told"),
    [
        ("", "time is missing"),
        ("@daily", "five fields"),
        ("* * * * * *", "five fields"),
        ("61 * * * *", "out of range"),
        ("x * * * *", "time is 'x"),
        ("0 0 31 2 *", "failed to find"),
    ],
)
def test_a_wrong_time_is_told(partition: Partition, time: str, told: str) -> None:
    with pytest.raises(RecipeError, match=rf"(?s)\[nightly\].*{told}"):
        run(partition, "cron", f"time = {time}\ncommand = true")
    assert not (partition.folder / "etc/cron.d").exists()


def test_logs_are_rotated_by_the_program_that_the_profile_names(partition: Partition) -> None:
    run(
        partition,
        "logrotate",
        "logrotate = /opt/sbin/logrotate\nlogs =\n  var/log/*.log\n  var/other log\nsize = 10M\nkeep = 3\n"
        "frequency = weekly\npost-rotate = /bin/kill -USR1 'a b'\n",
    )
    folder = partition.folder
    assert partition.text("etc/cron.d/nightly") == f"10 0 * * * {folder}/bin/nightly\n"
    config = partition.text("etc/logrotate.d/nightly")
    assert config.startswith(
        f'"{folder}/var/log/*.log"\n"{folder}/var/other log"\n{{\n  weekly\n  rotate 3\n  size 10485760\n'
    )
    assert "  postrotate\n    /bin/kill -USR1 'a b'\n  endscript\n}\n" in config
    last = partition.text("bin/nightly").splitlines()[-1]
    state, config_path = f"{folder}/var/nightly.logrotate-state", f"{folder}/etc/logrotate.d/nightly"
    assert last == f"exec /opt/sbin/logrotate --state {state} {config_path}"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("logs = a", "logrotate is missing: the path"),
        ("logrotate = /l", "logs is missing"),
        ("logrotate = /l\nlogs = /var/log/syslog", "logs has '/var/log/syslog'"),
        ("logrotate = /l\nlogs = ../a", "logs has"),
        ("logrotate = /l\nlogs = a{b", "without quotes and braces"),
        ("logrotate = /l\nlogs = a\nfrequency = often", "frequency is 'often'"),
        ("logrotate = /l\nlogs = a\npost-rotate = ${:evil}\nevil =\n  a\n  endscript", "line break"),
    ],
)
def test_wrong_options_are_told(partition: Partition, options: str, told: str) -> None:
    with pytest.raises(RecipeError, match=rf"(?s)\[nightly\].*{told}"):
        run(partition, "logrotate", options)
