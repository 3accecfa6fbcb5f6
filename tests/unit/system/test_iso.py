"""Small ISO images: what is written is read again, and left alone when nothing changed."""

from pathlib import Path

from slap.system.disk.iso import read_iso, write_iso

CONTENT = {"meta-data": b"{}\n", "user-data": b"", "network-config": b"x" * 5000}


def test_files_come_out_as_they_went_in(tmp_path: Path) -> None:
    path = tmp_path / "seed.iso"
    assert write_iso(path, "cidata", CONTENT)
    assert read_iso(path) == CONTENT
    assert path.read_bytes()[0x8001 + 39 :].startswith(b"cidata ")
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_same_content_is_not_written_again(tmp_path: Path) -> None:
    path = tmp_path / "seed.iso"
    write_iso(path, "cidata", CONTENT)
    before = path.stat().st_ino
    assert not write_iso(path, "cidata", CONTENT)
    assert path.stat().st_ino == before
    assert write_iso(path, "cidata", {**CONTENT, "user-data": b"#!/bin/sh\n"})
    assert path.stat().st_ino != before


def test_what_is_no_image_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "seed.iso"
    assert read_iso(path) is None
    for broken in (b"", b"nonsense" * 10_000):
        path.write_bytes(broken)
        assert read_iso(path) is None
        assert write_iso(path, "cidata", CONTENT)
