"""Files of a partition that root opens: none of them leads it elsewhere, holds it up, or fills its memory."""

import fcntl
import logging
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from supervisor.options import UnhosedConfigParser

from slap.model.errors import InvalidInput
from slap.model.node import DesiredInstance
from slap.node.core.logs import log_refusal
from slap.node.core.store import Store
from slap.node.manager.prerm import scripts_of
from slap.node.manager.whitelistfirewall import WhitelistFirewall
from slap.node.partition.cron import parse
from slap.node.partition.hooks import Managers
from slap.node.partition.profile import find_template, instance_profile
from slap.node.partition.supervision import Program, group_text
from slap.node.promise.plugin_launcher import PluginAnswer
from slap.system import files
from slap.system.trust.untrusted_files import hash_file, list_files, read_owned
from tests.unit.node.managed import Room
from tests.unit.node.things import PART, a_record, an_instance


def _links_out(folder: Path) -> None:
    (folder / "a").symlink_to("../secret")


def _links_out_above(folder: Path) -> None:
    (folder.parent / "elsewhere").mkdir()
    (folder.parent / "elsewhere/a").write_text("secret")
    (folder / "b").symlink_to("../elsewhere")


def _is_a_pipe(folder: Path) -> None:
    os.mkfifo(folder / "a")


def _is_a_device(folder: Path) -> None:
    (folder / "a").symlink_to("/dev/zero")


def _is_a_folder(folder: Path) -> None:
    (folder / "a").mkdir()


def _is_missing(folder: Path) -> None:
    return None


@pytest.mark.parametrize("name", ["a", "b/a", "../secret", "b/../a", "/etc/passwd", "a/"])
@pytest.mark.parametrize(
    "make",
    [_links_out, _links_out_above, _is_a_pipe, _is_a_device, _is_a_folder, _is_missing],
    ids=lambda f: f.__name__,
)
def test_nothing_is_read_but_ordinary_files_below_the_folder(
    tmp_path: Path, make: Callable[[Path], None], name: str
) -> None:
    (tmp_path / "secret").write_text("secret")
    folder = tmp_path / "partition"
    folder.mkdir()
    make(folder)
    with pytest.raises(OSError):
        read_owned(folder, name, None, 100)
    with suppress(OSError):
        assert list_files(folder, name, 100) == []
    assert hash_file(folder, name, 100) in ("", *_hashes_of_links(folder))


def _hashes_of_links(folder: Path) -> list[str]:
    """A link counts by its own text, which its owner knows."""
    (folder / "text").write_text("")
    found = []
    for text in ("../secret", "../elsewhere", "/dev/zero"):
        (folder / "text").write_text(text)
        found.append(hash_file(folder, "text", 100))
    return found


def test_a_digest_changes_with_the_content_also_behind_a_link_that_stays_inside(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("1")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    before = hash_file(tmp_path, "link", 100)
    (tmp_path / "real").write_text("2")
    assert before == hash_file(tmp_path, "link", 100) != "" or before != hash_file(tmp_path, "real", 100)
    assert hash_file(tmp_path, "link", 100) == hash_file(tmp_path, "real", 100) != before


def test_a_chain_of_links_of_any_length_is_a_link_like_others(tmp_path: Path) -> None:
    for number in range(3000):
        (tmp_path / f"{number}").symlink_to(f"{number + 1}")
    (tmp_path / "3000").write_text("end")
    assert len(hash_file(tmp_path, "0", 100)) == 64


def test_of_a_file_of_any_size_only_so_much_is_read(tmp_path: Path) -> None:
    (tmp_path / "huge").touch()
    os.truncate(tmp_path / "huge", 1 << 42)
    assert len(hash_file(tmp_path, "huge", 1 << 20)) == 64
    assert len(read_owned(tmp_path, "huge", None, 1000)) == 1000


def test_scripts_are_not_listed_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root/secret").touch()
    (tmp_path / "partition").mkdir()
    (tmp_path / "partition/etc").symlink_to("../root")
    assert scripts_of(tmp_path / "partition") == []
    (tmp_path / "partition/etc").unlink()
    (tmp_path / "partition/etc").mkdir()
    (tmp_path / "partition/etc/prerm").symlink_to("../../root")
    assert scripts_of(tmp_path / "partition") == []


def test_a_lock_is_its_owners_alone_also_one_that_an_earlier_version_made(tmp_path: Path) -> None:
    for name, mode in (("new", None), ("old", 0o644), ("older", 0o666)):
        path = tmp_path / name
        if mode is not None:
            path.touch()
            path.chmod(mode)
        with files.exclusive(path):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            with path.open() as other, pytest.raises(BlockingIOError):
                fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_folders_too_deep_in_each_other_for_a_program_that_calls_itself_are_removed(tmp_path: Path) -> None:
    here = os.open(tmp_path, os.O_RDONLY)
    inner = os.dup(here)
    for _ in range(1500):
        os.mkdir("d", dir_fd=inner)
        deeper = os.open("d", os.O_RDONLY, dir_fd=inner)
        os.close(inner)
        inner = deeper
    os.close(inner)
    files.remove_tree(tmp_path / "d")
    assert os.listdir(here) == []
    os.close(here)


@given(st.text(max_size=40), st.text(max_size=40))
def test_whatever_supervisord_is_told_is_one_program_or_refused(argument: str, value: str) -> None:
    program = Program("a", ("/bin/true", argument), Path("/log"), Path("/"), {"A": value}, user="me")
    try:
        text = group_text("g", [program])
    except InvalidInput:
        return
    parser = UnhosedConfigParser()
    parser.read_string(text)
    assert parser.sections() == ["group:g", "program:g.a"]
    section = parser["program:g.a"]
    assert (section["user"], section["environment"]) == ("me", f'A="{value.replace("%", "%%")}"')


@pytest.mark.parametrize(
    "value", ['"', "\n", "a\nuser=root", "\r", "\0", "\x1b", "\x85", "\u2028", "a ;b", "a #b", ";", " a", "a "]
)
@pytest.mark.parametrize("place", ["argument", "log", "directory", "variable", "name", "user", "group"])
def test_no_value_says_more_to_supervisord_than_it_should(value: str, place: str) -> None:
    at = {place: value}
    program = Program(
        name=at.get("name", "a"),
        argv=("/bin/true", at.get("argument", "")),
        log=Path(at.get("log", "/log")),
        directory=Path(at.get("directory", "/")),
        environment={"A": at.get("variable", "")},
        user=at.get("user", "me"),
    )
    with pytest.raises(InvalidInput):
        group_text(at.get("group", "g"), [program])


@pytest.mark.parametrize("name", ["A=", "A\n", "", "A B", 'A"', "A,B"])
def test_the_name_of_a_variable_is_a_word(name: str) -> None:
    with pytest.raises(InvalidInput):
        group_text("g", [Program("a", ("/bin/true",), Path("/log"), Path("/"), {name: "x"})])


@pytest.mark.parametrize("field", ["software_release", "partition"])
@pytest.mark.parametrize("value", ["a\n[x : 1]", "a\rb", "a\0", "a\x85b", "a\u2028b"])
def test_a_partitions_profile_has_no_line_that_somebody_chose(field: str, value: str) -> None:
    desired = DesiredInstance.model_construct(**{**an_instance().model_dump(), field: value})
    options = dict.fromkeys(("directory", "software-path", "computer-id", "context"), "/x")
    options["server-url"] = "http://x"
    with pytest.raises(InvalidInput, match="profile of a partition"):
        instance_profile(desired, "/t/instance.cfg", options)


def test_a_template_that_is_a_pipe_keeps_nobody_waiting(tmp_path: Path) -> None:
    (tmp_path / "instance-default.cfg").touch()
    os.mkfifo(tmp_path / "instance.cfg")
    assert find_template(tmp_path, "default") == tmp_path / "instance-default.cfg"


@pytest.mark.parametrize(
    "line",
    ["", "* * * *", "* * * * *", "1," * 5000 + "1 * * * * true", "99 * * * * x", "@reboot x", "\u0661 * * * * x"],
)
def test_a_schedule_that_is_none_runs_nothing(line: str) -> None:
    assert parse(PART, "a", line) is None


@pytest.mark.parametrize(
    "answer",
    [
        '{"name": "a", "passed": true, "seconds": NaN}',
        '{"name": "a", "passed": true, "seconds": 1e300}',
        '{"name": "a", "passed": true, "seconds": -1}',
        '{"name": "a", "passed": true, "minutes": Infinity}',
        '{"name": "a", "passed": true, "minutes": 0}',
        '{"name": "a", "passed": true, "more": 1}',
        '{"name": "a"}',
        "[" * 10_000,
    ],
)
def test_an_answer_of_a_plugin_is_bounded(answer: str) -> None:
    with pytest.raises(ValueError):
        PluginAnswer.model_validate_json(answer)


def test_one_record_that_is_refused_keeps_nobody_from_the_others(tmp_path: Path) -> None:
    """As an earlier version stored it, which believed what a tenant answered."""
    store = Store(tmp_path / "node.sqlite")
    store.save_instance(a_record())
    store.save_instance(a_record(partition="slappart1", guid="other"))
    forged = a_record(partition="slappart2").model_dump_json().replace('"services":{', '"services":{"a":"x y\\"",', 1)
    store._connection.execute("insert into item values ('instance-record', 'slappart2', 'slappart2', ?)", (forged,))
    assert [each.partition for each in store.instance_records()] == [PART, "slappart1"]
    assert store.instance_record("slappart2") is None
    store.save_instance(a_record(partition="slappart2"))
    assert store.instance_record("slappart2") is not None
    store.close()


@pytest.mark.parametrize("text", ["{", '["a b"]', '[{"a": 1}]', "[" * 985 + "]" * 985])
def test_what_is_refused_is_logged_in_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str) -> None:
    room = Room(tmp_path)
    room.write(WhitelistFirewall.request_file, text)
    with caplog.at_level(logging.WARNING, "slap.node.refused"), pytest.raises(InvalidInput):
        Managers([WhitelistFirewall(room.tools)]).configured(room.folder)
    (line,) = [each.getMessage() for each in caplog.records]
    assert line.startswith(f"{PART}: refused {WhitelistFirewall.request_file}: ")


def test_a_line_of_the_log_has_no_control_characters(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "slap.node.refused"):
        log_refusal(PART, "a file", "\x1b]0;x\x07 a\nb\r\u202e" + "x" * 10_000)
    (line,) = [each.getMessage() for each in caplog.records]
    assert line.isprintable() and line.isascii() and len(line) < 700
