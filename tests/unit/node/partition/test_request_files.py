"""What a tenant writes for its node is read as a stranger's words."""

import os
from pathlib import Path

import pytest

from slap.model.errors import InvalidInput
from slap.node.core.accounts import Account
from slap.node.manager.registry import KNOWN, make_managers
from slap.node.partition.request_files import read_list, read_request
from slap.node.partition.supervision import partition_of
from tests.unit.node.managed import Room


def test_no_file_is_no_wish(tmp_path: Path) -> None:
    assert read_request(Room(tmp_path).folder, ".slapos-x") is None
    assert read_list(Room(tmp_path / "other").folder, ".slapos-x") is None


def test_a_list_is_read(tmp_path: Path) -> None:
    room = Room(tmp_path)
    room.write("wish", '[1, "two"]')
    assert read_list(room.folder, "wish") == [1, "two"]


@pytest.mark.parametrize("text", ["", "{", "{}", '"text"', "null", str(list(range(300))), "[" * 60_000])
def test_what_is_no_list_of_a_sensible_length_is_refused(tmp_path: Path, text: str) -> None:
    room = Room(tmp_path)
    room.write("wish", text)
    with pytest.raises(InvalidInput, match="wish"):
        read_list(room.folder, "wish")


def test_links_pipes_folders_and_files_of_others_are_not_read(tmp_path: Path) -> None:
    room = Room(tmp_path)
    secret = room.root / "secret"
    secret.write_text("[1]")
    (room.folder.path / "link").symlink_to(secret)
    os.mkfifo(room.folder.path / "pipe")
    (room.folder.path / "folder").mkdir()
    for name in ("link", "pipe", "folder"):
        with pytest.raises(InvalidInput, match="ordinary"):
            read_request(room.folder, name)
    other = Room(tmp_path / "other", account=Account("somebody", os.getuid() + 1, os.getgid(), os.getgid()))
    other.write("wish", "[1]")
    with pytest.raises(InvalidInput, match="ordinary"):
        read_request(other.folder, "wish")


def test_of_a_long_file_the_end_is_read(tmp_path: Path) -> None:
    room = Room(tmp_path)
    room.write("wish", "1\n" * 100_000 + "2\n")
    text = read_request(room.folder, "wish")
    assert text
    assert (len(text), text[-2:]) == (64 * 1024, "2\n")


@pytest.mark.parametrize("names", ["", "prerm", "prerm, cpuset", "prerm cpuset devperm portredir whitelistfirewall"])
def test_managers_are_those_of_slapos_by_name(tmp_path: Path, names: str) -> None:
    room = Room(tmp_path, {"manager_list": names})
    managers = make_managers(room.tools)
    managers.configured(room.folder)
    assert managers.watch(room.folder) is False


def test_a_manager_that_nobody_knows_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"no manager portredirr") as refused:
        make_managers(Room(tmp_path, {"manager_list": "prerm portredirr"}).tools)
    assert all(name in refused.value.details for name in KNOWN)


@pytest.mark.parametrize(
    ("group", "partition"),
    [("slappart0", "slappart0"), ("slappart0-prerm", "slappart0"), ("slappart12-socat", "slappart12")],
)
def test_groups_of_managers_belong_to_their_partition(group: str, partition: str) -> None:
    assert partition_of(group) == partition
