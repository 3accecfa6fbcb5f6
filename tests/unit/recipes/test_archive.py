"""What an archive may not do to the machine that unpacks it, and what it may."""

import io
import os
import stat
import tarfile
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from slap.system.archive import BrokenArchive, Unpacking, UnsafeArchive, unpack
from slap.system.debian import merged

FILE, FOLDER, SYMLINK, HARDLINK = tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE


def member(
    name: str, kind: bytes = FILE, link: str = "", content: bytes = b"", mode: int = 0o644
) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size, info.mode, info.mtime = kind, link, len(content), mode, 1000
    return info, content


def tar_of(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content))
    return path


def zip_of(path: Path, name: str, content: str = "x", mode: int = 0o100644) -> Path:
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr(info, content)
    return path


def deb_of(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    data = tar_of(path.with_suffix(".data"), *members).read_bytes()
    parts = [("debian-binary", b"2.0\n"), ("control.tar.gz", b"xyz"), ("data.tar.gz", data)]
    path.write_bytes(b"!<arch>\n" + b"".join(_ar_member(name, content) for name, content in parts))
    return path


def _ar_member(name: str, content: bytes) -> bytes:
    header = f"{name + '/':<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n"
    return header.encode() + content + b"\n" * (len(content) % 2)


HOSTILE_TARS = {
    "parent": [member("../out")],
    "parent within": [member("a/../../out")],
    "absolute": [member("/tmp/out")],
    "absolute folder": [member("/tmp/out", FOLDER)],
    "link out": [member("a", SYMLINK, "../../etc")],
    "absolute link": [member("a", SYMLINK, "/etc/passwd")],
    "write through link": [member("d", FOLDER), member("a", SYMLINK, "d"), member("a/b")],
    "write through link that turns": [member("a", SYMLINK, "b"), member("b", SYMLINK, ".."), member("a/out")],
    "link through link": [member("d/here", SYMLINK, "."), member("out", SYMLINK, "d/here/../..")],
    "hard link out": [member("a", HARDLINK, "../../etc/passwd")],
    "absolute hard link": [member("a", HARDLINK, "/etc/passwd")],
    "hard link to nothing": [member("a", HARDLINK, "b")],
    "hard link to link": [member("l", SYMLINK, "f"), member("f"), member("a", HARDLINK, "l")],
    "hard link through link": [member("d/f"), member("l", SYMLINK, "d"), member("a", HARDLINK, "l/f")],
    "character device": [member("a", tarfile.CHRTYPE)],
    "block device": [member("a", tarfile.BLKTYPE)],
    "pipe": [member("a", tarfile.FIFOTYPE)],
    "file over folder": [member("a/b"), member("a")],
    "folder below file": [member("a"), member("a/b")],
    "too large": [member("a", content=b"x" * 2000)],
    "a name that no disk takes": [member("n" * 256)],
    "too many": [member(f"f{number}") for number in range(30)],
}


@pytest.mark.parametrize("name", HOSTILE_TARS)
@pytest.mark.parametrize("pack", [tar_of, deb_of])
def test_a_hostile_archive_is_refused_and_writes_nothing_outside(
    name: str, pack: Callable[..., Path], tmp_path: Path
) -> None:
    archive = pack(tmp_path / "a.archive", *HOSTILE_TARS[name])
    target = tmp_path / "target" / "inner"
    target.mkdir(parents=True)
    with pytest.raises(UnsafeArchive):
        unpack(archive, target, Unpacking(most_bytes=1000, most_members=20))
    assert os.listdir(tmp_path / "target") == ["inner"]


HOSTILE_ZIPS = {
    "parent": ("../out", "x", 0o100644),
    "absolute": ("/tmp/out", "x", 0o100644),
    "link out": ("a", "../../etc", 0o120777),
    "pipe": ("a", "x", 0o010644),
    "device": ("a", "x", 0o020644),
}


@pytest.mark.parametrize("name", HOSTILE_ZIPS)
def test_a_hostile_zip_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    with pytest.raises(UnsafeArchive):
        unpack(zip_of(tmp_path / "a.zip", *HOSTILE_ZIPS[name]), tmp_path / "t")
    assert sorted(os.listdir(tmp_path)) == ["a.zip", "t"]


@pytest.mark.parametrize("content", [b"", b"text", b"!<arch>\nnonsense", b"\x1f\x8b broken", b"PK\x03\x04 broken"])
def test_what_is_no_archive_is_told(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(BrokenArchive):
        unpack(tmp_path / "a", tmp_path)


def test_a_truncated_archive_is_told(tmp_path: Path) -> None:
    whole = tar_of(tmp_path / "a.tar.gz", member("f", content=os.urandom(9000))).read_bytes()
    (tmp_path / "a.tar.gz").write_bytes(whole[:5000])
    with pytest.raises(BrokenArchive):
        unpack(tmp_path / "a.tar.gz", tmp_path)


def test_files_come_out_with_plain_modes_and_their_times(tmp_path: Path) -> None:
    members = (member("p", mode=0o6777), member("s", mode=0o600), member("d", FOLDER, mode=0o1777))
    unpack(tar_of(tmp_path / "a.tgz", *members), tmp_path)
    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in "psd"] == [0o755, 0o644, 0o755]
    assert (tmp_path / "s").stat().st_mtime == 1000


@pytest.mark.parametrize("modified", [10.0**20, -(10.0**20), float("nan"), float("inf")])
def test_a_time_that_is_none_is_left_out(modified: float, tmp_path: Path) -> None:
    odd = member("a", content=b"x")
    odd[0].pax_headers = {"mtime": str(modified)}
    unpack(tar_of(tmp_path / "a.tar", odd), _made(tmp_path / "out"))
    assert (tmp_path / "out/a").stat().st_mtime > 10**9


def test_a_tar_that_ends_with_a_zip_is_a_tar(tmp_path: Path) -> None:
    inner = zip_of(tmp_path / "inner.jar", "inner").read_bytes()
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for info, content in (member("start.sh"), member("zlib.jar", content=inner)):
            tar.addfile(info, io.BytesIO(content))
    unpack(tmp_path / "a.tar", _made(tmp_path / "out"))
    assert sorted(os.listdir(tmp_path / "out")) == ["start.sh", "zlib.jar"]


def test_a_zip_with_a_program_before_it_is_a_zip(tmp_path: Path) -> None:
    packed = zip_of(tmp_path / "a.zip", "inner")
    packed.write_bytes(b"#!/bin/sh\n" + packed.read_bytes())
    unpack(packed, _made(tmp_path / "out"))
    assert os.listdir(tmp_path / "out") == ["inner"]


@pytest.mark.parametrize(
    "headers", [{"size": "x"}, {"GNU.sparse.map": "x,y"}, {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}]
)
def test_numbers_that_are_none_are_told_in_words(headers: dict[str, str], tmp_path: Path) -> None:
    odd = member("a", content=b"x")
    odd[0].pax_headers = headers
    with suppress(BrokenArchive):
        unpack(tar_of(tmp_path / "a.tar", odd), _made(tmp_path / "out"))


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_links_within_are_kept(tmp_path: Path) -> None:
    members = (member("d/f", content=b"x"), member("d/s", SYMLINK, "../d/f"), member("h", HARDLINK, "d/f"))
    unpack(tar_of(tmp_path / "a.tgz", *members), tmp_path)
    assert [(tmp_path / name).read_bytes() for name in ("d/s", "h")] == [b"x", b"x"]


def test_leading_folders_are_dropped_also_from_hard_links(tmp_path: Path) -> None:
    members = (member("top/f", content=b"x"), member("top/h", HARDLINK, "top/f"), member("top", FOLDER))
    unpack(tar_of(tmp_path / "a.tgz", *members), tmp_path, Unpacking(strip=1))
    assert (tmp_path / "h").read_bytes() == b"x"


@pytest.mark.parametrize(
    ("name", "link", "becomes"),
    [
        ("usr/lib/l", "/etc/x", "../../etc/x"),
        ("l", "/etc/x", "etc/x"),
        ("usr/l", "../../../etc/x", None),
        ("usr/lib/l", "l.so.1", "l.so.1"),
        ("bin/l", "/bin/x", "x"),
        ("bin/l", "../usr/bin/x", "x"),
        ("bin/l", "../etc/x", "../../etc/x"),
        ("bin/l", "../../../etc/x", "../../etc/x"),
    ],
)
def test_links_of_a_package_mean_the_package(name: str, link: str, becomes: str | None, tmp_path: Path) -> None:
    package, how = deb_of(tmp_path / "a.deb", member(name, SYMLINK, link)), Unpacking(rename=merged, rebase_links=True)
    if becomes is None:
        with pytest.raises(UnsafeArchive):
            unpack(package, tmp_path, how)
    else:
        unpack(package, tmp_path, how)
        assert os.readlink(tmp_path / merged(name)) == becomes


def test_a_zip_keeps_what_is_executable(tmp_path: Path) -> None:
    unpack(zip_of(tmp_path / "a.zip", "bin/run", "#!/bin/sh\n", 0o100700), tmp_path)
    assert stat.S_IMODE((tmp_path / "bin/run").stat().st_mode) == 0o755
