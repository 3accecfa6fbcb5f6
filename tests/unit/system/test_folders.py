"""Folders of somebody else: what is read of them, and that nothing is too deep or too locked to be removed."""

import os
from pathlib import Path

import pytest

from slap.system import environment, files
from slap.system.trust.folders import is_folder, opened, read_below, remove_owned, rename


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/file").write_text("outside")
    (tmp_path / "in/d").mkdir(parents=True)
    (tmp_path / "in/d/file").write_text("inside")
    (tmp_path / "in/link").symlink_to(tmp_path / "outside")
    (tmp_path / "in/d/link").symlink_to("file")
    os.mkfifo(tmp_path / "in/pipe")
    return tmp_path / "in"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("d/file", "inside"),
        ("./d//file", "inside"),
        ("d", ""),
        ("d/link", ""),
        ("link/file", ""),
        ("missing", ""),
        ("pipe", ""),
        ("../outside/file", ""),
        ("d/../d/file", ""),
        ("/etc/hostname", ""),
        ("d/file\0", ""),
        (".", ""),
    ],
)
def test_what_is_read_lies_below_the_folder(place: Path, name: str, text: str) -> None:
    assert read_below(place, name) == text


def test_what_is_too_large_is_not_read(place: Path) -> None:
    assert (read_below(place, "d/file", 6), read_below(place, "d/file", 5)) == ("inside", "")


def test_only_regular_files_are_read(place: Path) -> None:
    for path in (Path("/dev/zero"), place, place / "pipe"):
        for read in (lambda path: files.read_or(path, ""), lambda path: files.tail(path, 1), files.read_bytes):
            with pytest.raises(OSError, match="not a regular file"):
                read(path)
    with pytest.raises(OSError, match="more than 5 bytes"):
        files.read_bytes(place / "d/file", 5)


def test_folders_of_any_depth_are_removed(place: Path) -> None:
    with opened(place) as descriptor:
        folder = os.dup(descriptor)
    for _ in range(1500):
        os.mkdir("deep", dir_fd=folder)
        inner = os.open("deep", os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = inner
    os.close(folder)
    files.remove_tree(place)
    assert os.listdir(place.parent) == ["outside"]
    assert os.listdir(place.parent / "outside") == ["file"]


def test_links_that_turn_in_a_circle_are_given_up(place: Path) -> None:
    (place / "one").symlink_to("two")
    (place / "two").symlink_to("one")
    assert (is_folder(place / "one"), is_folder(place / "d"), is_folder(place / "d/file")) == (False, True, False)


def test_a_name_with_nul_leads_to_no_folder(place: Path) -> None:
    with pytest.raises(ValueError), opened(f"{place}\0/d"):
        pytest.fail("the folder before the NUL was opened")


def test_a_folder_gets_another_name(place: Path) -> None:
    rename(place / "d", place.parent / "outside/d", is_durable=True)
    assert (place.parent / "outside/d/file").read_text() == "inside"


if environment.is_root():

    def test_root_follows_its_own_links_and_no_others(place: Path) -> None:
        assert is_folder(place / "link")
        os.chown(place / "link", 1, 1, follow_symlinks=False)
        assert not is_folder(place / "link")
        os.chown(place / "link", 0, 0, follow_symlinks=False)
        os.chown(place, 1, 1)  # who may write there exchanges it
        assert not is_folder(place / "link")
        os.chown(place, 0, 0)
        place.chmod(0o777)
        assert not is_folder(place / "link")
        place.chmod(0o1777)
        assert is_folder(place / "link")


def test_what_a_user_has_where_everybody_may_write_is_removed_and_nothing_else(tmp_path: Path) -> None:
    kept, place = tmp_path / "kept", tmp_path / "place"
    (place / "tree/inner").mkdir(parents=True)
    kept.write_text("kept")
    (place / "link").symlink_to(kept)
    user = 61_235 if os.geteuid() == 0 else os.getuid()
    if os.geteuid() == 0:
        (place / "of-root").touch()
        for name in ("tree", "link"):
            os.chown(place / name, user, user, follow_symlinks=False)
    remove_owned(user + 1, [place, tmp_path / "missing"])
    assert os.path.lexists(place / "link") and (place / "tree").exists()
    remove_owned(user, [place])
    assert [path.name for path in place.iterdir()] == ["of-root"] * (os.geteuid() == 0)
    assert kept.exists()
