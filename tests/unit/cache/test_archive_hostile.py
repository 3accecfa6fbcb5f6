"""Hostile archives, all of whose digests are right: each is refused, and nothing of it is left anywhere."""

from contextlib import closing
from pathlib import Path

import pytest

from slap.cache.archive import extract
from slap.cache.archive.header import END
from slap.cache.archive.member import MemberKind
from slap.cache.archive.write import Writer
from slap.model.errors import SlapError
from tests.unit.cache.archives import HERE, folder, made_of, member, patched, tar, unpacked

FILE = member("evil", content=b"evil")
LINK, HARD = MemberKind.SYMLINK, MemberKind.HARDLINK

HOSTILE = {
    "name above": tar(member("../evil", content=b"evil")),
    "name above, further down": tar(folder("a"), member("a/../../evil", content=b"evil")),
    "only dots": tar(folder("..")),
    "dot": tar(member("./evil")),
    "absolute name": tar(member("/tmp/evil", content=b"evil")),
    "double slash": tar(folder("a"), member("a//evil")),
    "empty name": tar(patched(FILE, 0, bytes(100))),
    "character device": tar(patched(member("null"), 156, b"3")),
    "block device": tar(patched(member("disk"), 156, b"4")),
    "pipe": tar(patched(member("pipe"), 156, b"6")),
    "contiguous file": tar(patched(member("seven"), 156, b"7")),
    "sparse file of GNU": tar(patched(member("sparse"), 156, b"S")),
    "pax header": tar(patched(member("pax", content=b"18 path=../../evil\n"), 156, b"x")),
    "setuid": tar(patched(FILE, 100, b"0004755\0")),
    "setgid": tar(patched(FILE, 100, b"0002755\0")),
    "sticky": tar(patched(folder("a"), 100, b"0001755\0")),
    "writable for all": tar(patched(FILE, 100, b"0000777\0")),
    "owner": tar(patched(FILE, 108, b"0001750\0")),
    "time": tar(patched(FILE, 136, b"77777777777\0")),
    "through a link": tar(member("a", LINK, link="/etc"), member("a/evil", content=b"evil")),
    "through a link inside": tar(folder("a"), member("b", LINK, link="a"), member("b/evil", content=b"evil")),
    "folder on a link": tar(member("a", LINK, link="/usr"), folder("a"), member("a/evil")),
    "file on a link": tar(member("a", LINK, link="/usr/evil"), member("a", content=b"evil")),
    "file in a file": tar(member("a"), member("a/evil")),
    "link above": tar(member("a", LINK, link="..")),
    "link far above": tar(folder("a"), member("a/b", LINK, link="../../../../etc/shadow")),
    "link down and up": tar(folder("a"), member("a/b", LINK, link="c/../../../x")),
    "link through a link": tar(folder("d"), member("d/l", LINK, link="."), member("e", LINK, link="d/l/../..")),
    "absolute link": tar(member("a", LINK, link="/etc/shadow")),
    "absolute link in disguise": tar(member("a", LINK, link="/usr/../etc/shadow")),
    "link to a neighbour by prefix": tar(member("a", LINK, link="/opt/slapgrid-evil/x")),
    "empty link": tar(member("a", LINK)),
    "hard link above": tar(member("a", HARD, link="../../etc/passwd")),
    "hard link, absolute": tar(member("a", HARD, link="/etc/passwd")),
    "hard link to a later file": tar(member("a", HARD, link="b"), member("b")),
    "hard link to itself": tar(member("a", HARD, link="a")),
    "hard link to a folder": tar(folder("a"), member("b", HARD, link="a")),
    "hard link to a link": tar(member("a", LINK, link="/usr/bin"), member("b", HARD, link="a")),
    "hard link through a link": tar(member("a", LINK, link="/usr/bin"), member("b", HARD, link="a/env")),
    "twice": tar(member("a"), member("a")),
    "folder twice": tar(folder("a"), folder("a")),
    "not in order": tar(member("b"), member("a")),
    "back in an earlier folder": tar(folder("a"), member("b"), member("a/evil")),
    "without its folder": tar(member("a/evil")),
    "too deep": tar(*(folder("/".join(["d"] * depth)) for depth in range(1, 250))),
    "long part": tar(member("a" * 256)),
    "endless name": tar(member("a/" * 5000 + "a")),
    "line of zeros in a name": tar(patched(FILE, 0, b"ev\0il")),
    "folder with content": tar(patched(folder("a"), 124, b"00000001000\0"), bytes(512)),
    "link with content": tar(patched(member("a", LINK, link="b"), 124, b"00000001000\0"), bytes(512)),
    "file that says it is a folder": tar(patched(FILE, 0, b"evil/")),
    "size beyond the end": tar(patched(FILE, 124, b"77777777777\0")),
    "size beyond all": tar(patched(FILE, 124, b"\x80" + b"\x7f" * 11)),
    "size below zero": tar(patched(FILE, 124, b"-0000000001\0")),
    "wrong checksum": tar(FILE[:150] + b"7" + FILE[151:]),
    "filled padding": FILE[:-1] + b"x" + END,
    "no end": FILE,
    "half an end": FILE + END[:512],
    "half a header": FILE + FILE[:100],
    "second archive after the end": tar(FILE) + tar(member("second")),
    "zeros after the end": tar(FILE) + bytes(512),
    "nothing but noise": b"\x8f" * 4096,
    "gzip": b"\x1f\x8b\x08" + bytes(2000),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_archive_is_refused_whole(name: str, tmp_path: Path) -> None:
    (tmp_path / "beside").mkdir()
    with pytest.raises(SlapError) as caught:
        unpacked(*made_of(HOSTILE[name]), tmp_path / "beside/into")
    assert caught.value.kind in ("unsafe-archive", "broken-archive")
    assert caught.value.details
    assert [str(path) for path in tmp_path.rglob("*")] == [str(tmp_path / "beside")]
    assert not Path("/tmp/evil").exists()


def test_the_helpers_make_good_archives_too(tmp_path: Path) -> None:
    """Else the tests above would pass for a wrong reason."""
    good = tar(
        folder("a"), member("a/b", content=b"good"), member("a/c", HARD, link="a/b"), member("d", LINK, link="a/b")
    )
    into = unpacked(*made_of(patched(good, 0, b"a/")), tmp_path / "into")
    assert (into / "d").read_bytes() == b"good"
    assert (into / "a/b").samefile(into / "a/c")


def test_more_members_than_anybody_needs(tmp_path: Path) -> None:
    """Half a GiB of headers would be a million files out of some KiB on the wire."""
    assert extract.MOST_MEMBERS * 512 < 1 << 30
    with closing(Writer(str(tmp_path), HERE)) as writer:
        reader = extract.Extraction(iter([tar(member("a"), member("b"), member("c"))]), writer, most=2)
        with pytest.raises(SlapError, match="more than 2 members"):
            reader.run()
