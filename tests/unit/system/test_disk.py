"""Disks that are put together byte by byte."""

import os
import struct
import subprocess
from pathlib import Path

import pytest

from slap.model.errors import SlapError
from slap.system.disk.boot import FIRST, SECTOR, beginning, start_linux
from slap.system.disk.ext4 import Ext4, make_ext4
from slap.system.disk.tree import Item, cpio, with_folders, write_tree
from slap.system.process import SystemRunner

ITEMS = [
    Item("init", b"#!/bin/sh\n"),
    Item("etc/shadow", b"root:*\n", mode=0o600),
    Item("bin/sh", link="busybox"),
    Item("empty", b"", mode=0o644),
    Item("tmp", mode=0o1777),
]


def test_folders_come_before_what_is_in_them() -> None:
    names = [item.path for item in with_folders([Item("a/b/c", b""), Item("a/b", mode=0o700)])]
    assert names == ["a", "a/b", "a/b/c"]
    assert with_folders([Item("a/b/c", b""), Item("a/b", mode=0o700)])[1].mode == 0o700


def test_an_archive_for_the_kernel_does_not_depend_on_the_order() -> None:
    archive = cpio(ITEMS)
    assert archive == cpio(reversed(ITEMS))
    assert len(archive) % 4 == 0
    assert archive.count(b"070701") == len(with_folders(ITEMS)) + 1
    name = archive.index(b"etc/shadow\0")
    assert int(archive[name - 96 : name - 88], 16) == 0o100600
    assert archive[name:].startswith(b"etc/shadow\0\0\0\0root:*\n")


def test_a_tree_has_modes_links_and_one_age(tmp_path: Path) -> None:
    write_tree(ITEMS, tmp_path / "tree", 1_700_000_000)
    assert (tmp_path / "tree/etc/shadow").stat().st_mode & 0o7777 == 0o600
    assert (tmp_path / "tree/tmp").stat().st_mode & 0o7777 == 0o1777
    assert os.readlink(tmp_path / "tree/bin/sh") == "busybox"
    assert {path.lstat().st_mtime for path in (tmp_path / "tree").rglob("*")} == {1_700_000_000}


def test_a_file_system_is_the_same_each_time_and_roots(tmp_path: Path) -> None:
    made = []
    for number in range(2):
        folder, image = tmp_path / f"tree{number}", tmp_path / f"image{number}"
        write_tree(ITEMS, folder, 1_700_000_000)
        (folder / "etc/shadow").chmod(0o600)
        image.write_bytes(b"MBR")
        with image.open("ab") as file:
            file.truncate(16 << 20)
        make_ext4(Ext4(1 << 20, 15 << 20, "a-label", 1_700_000_000), folder, image, SystemRunner())
        made.append(image.read_bytes())
    assert made[0] == made[1]
    assert made[0].startswith(b"MBR")
    disk = f"{tmp_path / 'image0'}?offset={1 << 20}"
    said = subprocess.run(
        ["/usr/sbin/debugfs", "-R", "stat /etc/shadow", disk], capture_output=True, text=True, check=True
    ).stdout
    assert "Mode:  0600" in said
    assert all(f"{word}:     0" in said for word in ("User", "Group"))


def test_the_first_sector_says_where_the_partition_is() -> None:
    made = beginning(b"\xeb" * SECTOR, b"core", 100_000)
    assert made[:440] == b"\xeb" * 440
    assert made[510:512] == b"\x55\xaa"
    assert struct.unpack("<II", made[454:462]) == (FIRST, 100_000 - FIRST)
    assert made[SECTOR:] == b"core"


def test_a_second_part_that_is_too_large_is_refused() -> None:
    with pytest.raises(SlapError, match="more than fits"):
        beginning(b"\0" * SECTOR, b"\0" * FIRST * SECTOR, 100_000)


def test_a_file_system_has_blocks_that_a_boot_loader_reads_fast(tmp_path: Path) -> None:
    write_tree(ITEMS, tmp_path / "tree", 0)
    image = tmp_path / "image"
    image.write_bytes(bytes(16 << 20))
    make_ext4(Ext4(0, 16 << 20, "a-label"), tmp_path / "tree", image, SystemRunner())
    exponent = struct.unpack_from("<I", image.read_bytes(), 1024 + 24)[0]  # s_log_block_size
    assert 1024 << exponent == 4096


def test_a_kernel_is_started_by_its_16_bit_entry() -> None:
    assert start_linux("/k", "quiet", "/i") == "linux16 /k quiet\ninitrd16 /i\nboot\n"
