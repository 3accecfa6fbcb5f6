"""What is packed comes out again; the same is always the same bytes; what was damaged on the way never comes out."""

import os
import py_compile
import resource
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from hashlib import sha512
from io import BytesIO
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from slap.cache.archive.chunk import compress
from slap.cache.archive.errors import CannotPack, ElsewhereOnly
from slap.cache.archive.member import TIME, Place
from slap.cache.archive.pack import Chunker, pack
from slap.cache.archive.pipeline import WriteBehind
from slap.cache.archive.unpack import unpack
from slap.model.cache.manifest import LARGEST_CHUNK, ChunkRef, Manifest
from slap.model.errors import Conflict, SlapError, Unreachable
from tests.unit.cache.archives import HERE, Blobs, listing, made_of, packed, unpacked

NAMES = st.one_of(
    st.sampled_from([b"a", b"A", b"a.b", b"a b", b"-rf", b"\xff\xfe", b"n\n", "é€".encode(), b"x" * 101, b"y" * 255]),
    st.binary(min_size=1, max_size=120).filter(lambda name: b"/" not in name and b"\0" not in name),
).filter(lambda name: name not in (b".", b".."))
CONTENTS = st.one_of(st.binary(max_size=1500), st.sampled_from([b"", b"x" * 512, b"z" * 200_000]))
FILES = st.tuples(CONTENTS, st.sampled_from([0o644, 0o755, 0o600, 0o4755, 0o444]))
Tree = dict[bytes, "tuple[bytes, int] | Tree"]
TREES = st.recursive(FILES, lambda inner: st.dictionaries(NAMES, inner, max_size=4), max_leaves=12)


@settings(max_examples=40, deadline=None)
@given(tree=st.dictionaries(NAMES, TREES, max_size=5), links=st.integers(0, 3))
def test_what_is_packed_comes_out(tmp_path_factory: pytest.TempPathFactory, tree: Tree, links: int) -> None:
    base = tmp_path_factory.mktemp("trip")
    _write(os.fsencode(base / "in"), tree)
    for number in range(links):
        _link(base / "in", number)
    manifest, blobs = packed(base / "in")
    out = unpacked(manifest, blobs, base / "out")
    assert listing(out) == listing(base / "in")
    assert packed(out)[0] == manifest
    shutil.rmtree(base)


def test_an_archive_is_an_ordinary_tar_of_zstd_frames(release: Path) -> None:
    manifest, blobs = packed(release)
    stream = b"".join(blobs[ref.sha512] for ref in manifest.chunks)
    plain = zstandard.ZstdDecompressor().stream_reader(BytesIO(stream), read_across_frames=True).read()
    with tarfile.open(fileobj=BytesIO(plain)) as tar:
        members = tar.getmembers()
    assert [m.name for m in members] == ["bin", "bin/again", "bin/run", "lib", "lib/link", "lib/" + "long" * 60]
    assert {(m.uid, m.gid, m.uname, m.mtime) for m in members} == {(0, 0, "", TIME)}
    assert {m.mode for m in members} == {0o755, 0o644}


def test_times_modes_and_the_order_of_making_do_not_matter(release: Path, tmp_path: Path) -> None:
    first = packed(release)[0]
    os.utime(release / "bin/run", (1, 1))
    (release / "bin/run").chmod(0o700)
    shutil.copytree(release / "lib", tmp_path / "kept", symlinks=True)
    shutil.rmtree(release / "lib")
    shutil.move(tmp_path / "kept", release / "lib")
    assert packed(release)[0] == first
    (release / "bin/run").chmod(0o600)
    assert packed(release)[0].digest != first.digest


def test_modes_and_times_come_out_as_said_whatever_the_umask(release: Path, tmp_path: Path) -> None:
    old = os.umask(0o077)
    try:
        out = unpacked(*packed(release), tmp_path / "out")
    finally:
        os.umask(old)
    modes = {path.name[:5]: path.lstat().st_mode & 0o7777 for path in (out, *out.rglob("*")) if not path.is_symlink()}
    assert modes == {"out": 0o755, "bin": 0o755, "lib": 0o755, "run": 0o755, "again": 0o755, "longl": 0o644}
    assert (out / "bin/run").stat().st_mtime == TIME


def test_what_belongs_to_the_node_is_left_out(release: Path) -> None:
    before = packed(release)[0]
    (release / ".completed").write_text("{}")
    (release / "lib/.log").mkdir()
    (release / "lib/.log/build").write_text("It took 2 seconds.")
    assert packed(release)[0] != before
    assert pack(release, HERE, Blobs().put, without={".completed", "lib/.log"}) == before


def test_bytecode_does_not_tell_when_it_was_made_and_is_good_where_it_comes_out(tmp_path: Path) -> None:
    manifests = []
    for time in (1_500_000_000, 1_600_000_000):
        source = tmp_path / "in/module.py"
        source.parent.mkdir(exist_ok=True)
        source.write_text("VALUE = 1\n")
        os.utime(source, (time, time))
        compiled = py_compile.compile(str(source), dfile="module.py")
        manifests.append(packed(tmp_path / "in")[0])
    assert manifests[0] == manifests[1]
    out = unpacked(*packed(tmp_path / "in"), tmp_path / "out")
    words = [sys.executable, "-v", "-c", "import module"]
    said = subprocess.run(words, cwd=out, capture_output=True, text=True, check=True, timeout=60).stderr
    assert f"matches {out / 'module.py'}" in said
    source.write_text("VALUE = 22\n")
    assert compiled is not None
    assert Path(compiled).exists()
    assert not list(unpacked(*packed(tmp_path / "in"), tmp_path / "second").rglob("*.pyc")), "a stale one is left out"


@pytest.mark.parametrize(
    ("content", "embeds"),
    [
        (b"#!/opt/slapgrid/abc/bin/python\n", True),
        (b"x" * 5_000_000 + b"/opt/slapgrid/other" + b"x" * 100, True),
        (b"#!/usr/bin/python3\n/opt/slap", False),
    ],
)
def test_an_archive_whose_files_name_their_place_is_for_that_place(
    tmp_path: Path, content: bytes, embeds: bool
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/script").write_bytes(content)
    manifest, blobs = packed(tmp_path / "in")
    elsewhere = Place("/srv/other/abc", "/srv/other")
    assert manifest.embeds_path is embeds
    if embeds:
        with pytest.raises(ElsewhereOnly, match="/opt/slapgrid/abc"):
            unpack(manifest, blobs.get_chunk, tmp_path / "out", elsewhere)
    else:
        unpack(manifest, blobs.get_chunk, tmp_path / "out", elsewhere)
    assert (tmp_path / "out").exists() is not embeds
    assert unpacked(manifest, blobs, tmp_path / "here").is_dir()


@pytest.mark.parametrize("size", [-20, -1, 0, 1, 20])
def test_a_path_is_found_wherever_the_chunks_are_cut(tmp_path: Path, size: int) -> None:
    """Random bytes are cut where their content says: the path is put across one of these cuts."""
    noise = os.urandom(3 << 20)
    (tmp_path / "in").mkdir()
    (tmp_path / "in/file").write_bytes(noise)
    first = packed(tmp_path / "in")[0].chunks[0].size - 512 + size
    (tmp_path / "in/file").write_bytes(noise[:first] + b"/opt/slapgrid/" + noise[first:])
    assert packed(tmp_path / "in")[0].embeds_path


@pytest.mark.parametrize("target", ["/etc/shadow", "../../outside", "sub/../../.."])
def test_what_would_be_refused_there_is_not_packed_here(tmp_path: Path, target: str) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/link").symlink_to(target)
    with pytest.raises(CannotPack, match="'link' points to"):
        packed(tmp_path / "in")


def test_pipes_and_folders_that_are_gone_are_not_packed(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CannotPack, match="pipe"):
        packed(tmp_path)
    with pytest.raises(CannotPack, match="No such file"):
        packed(tmp_path / "gone")


def test_what_is_cut_into_more_chunks_than_a_manifest_holds_is_not_packed() -> None:
    cutter = Chunker(HERE, most=2)
    with pytest.raises(CannotPack, match="too large"):
        list(cutter.cut(iter([os.urandom(4 << 20)])))


def test_the_next_version_shares_most_of_its_bytes(tmp_path: Path) -> None:
    content = os.urandom(8 << 20)
    (tmp_path / "in").mkdir()
    (tmp_path / "in/big").write_bytes(content)
    before = {ref.sha512 for ref in packed(tmp_path / "in")[0].chunks}
    (tmp_path / "in/big").write_bytes(content[:1000] + b"inserted" + content[1000:])
    (tmp_path / "in/also").write_bytes(b"new")
    after = packed(tmp_path / "in")[0]
    assert sum(ref.packed for ref in after.chunks if ref.sha512 not in before) < 0.15 * after.size


def _flip(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def _dead(ref: ChunkRef) -> bytes:
    raise Unreachable("The cache does not answer.")


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "first byte": lambda data: _flip(data, 0),
    "truncated": lambda data: data[:-1],
    "empty": lambda data: b"",
    "longer": lambda data: data + b"x",
}


@pytest.mark.parametrize("name", DAMAGES)
@pytest.mark.parametrize("which", [0, -1])
def test_a_damaged_chunk_is_refused(release: Path, tmp_path: Path, name: str, which: int) -> None:
    """Its digest is right when whoever published it damaged it. What others damage does not come this far."""
    (release / "noise").write_bytes(os.urandom(1 << 20))
    manifest, blobs = packed(release)
    bad = manifest.chunks[which].sha512
    blobs[bad] = DAMAGES[name](blobs[bad])
    with pytest.raises(SlapError) as caught:
        unpacked(manifest, blobs, tmp_path / "out")
    assert caught.value.kind == "broken-archive"
    assert not (tmp_path / "out").exists()


def test_a_cache_that_never_answers(release: Path, tmp_path: Path) -> None:
    with pytest.raises(Unreachable):
        unpack(packed(release)[0], _dead, tmp_path / "out", HERE)
    assert not (tmp_path / "out").exists()


def test_a_chunk_that_unpacks_to_more_than_announced_is_refused_before_it_takes_memory(tmp_path: Path) -> None:
    bomb = compress(bytes(1 << 28))[1]
    manifest, _ = made_of(b"x" * 512)
    ref = compress(bytes(1))[0]._replace(sha512=sha512(bomb).hexdigest(), size=LARGEST_CHUNK, packed=len(bomb))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(SlapError, match="does not unpack to the announced"):
        unpack(manifest.model_copy(update={"chunks": (ref,)}), lambda ref: bomb, tmp_path / "out", HERE)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000


def test_chunks_in_another_order_or_of_another_archive_are_refused(release: Path, tmp_path: Path) -> None:
    (release / "noise").write_bytes(os.urandom(4 << 20))
    manifest, blobs = packed(release)
    for chunks in (manifest.chunks[::-1], manifest.chunks[:-1], (*manifest.chunks, manifest.chunks[0])):
        with pytest.raises(SlapError):
            unpacked(manifest.model_copy(update={"chunks": chunks}), blobs, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_after_what_went_wrong_nothing_that_was_told_later_is_done() -> None:
    done: list[int] = []
    fails = [lambda: done.append(1), lambda: done.append(1 // 0), *[lambda: done.append(3)] * 20]
    with pytest.raises(ZeroDivisionError), WriteBehind(4) as behind:
        for work in fails:
            behind.do(work)
    assert done == [1]


def test_nothing_is_unpacked_over_what_is_there(release: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/precious").write_text("mine")
    with pytest.raises(Conflict):
        unpacked(*packed(release), tmp_path / "out")
    assert (tmp_path / "out/precious").read_text() == "mine"


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"chunks": ()},
        {"chunks": [["0" * 127, 1, 1]]},
        {"chunks": [["0" * 128, LARGEST_CHUNK + 1, 1]]},
        {"chunks": [["0" * 128, 1, -1]]},
        {"digest": "x"},
        {"path": "relative"},
        {"more": 1},
    ],
)
def test_a_manifest_with_anything_odd_in_it_is_none(change: dict[str, object]) -> None:
    good = made_of(bytes(1024))[0].model_dump()
    assert Manifest.model_validate(good)
    with pytest.raises(ValueError):
        Manifest.model_validate(good | change)


def test_memory_does_not_grow_with_the_size(tmp_path: Path) -> None:
    """A process of its own packs and unpacks 300 MiB, chunks on the disk as in a cache, within a bound."""
    said = subprocess.run(
        [sys.executable, "-c", _MEASURE, str(tmp_path)], capture_output=True, text=True, check=True, timeout=120
    ).stdout
    assert int(said) < 100 << 10, "KiB"


_MEASURE = """
import os, sys
from pathlib import Path
from slap.cache.archive.member import Place
from slap.cache.archive.pack import pack
from slap.cache.archive.unpack import unpack
base = Path(sys.argv[1])
(base / "in").mkdir(), (base / "blobs").mkdir()
piece = os.urandom(1 << 20)
with open(base / "in/large", "wb") as file:
    for number in range(100):
        file.write(number.to_bytes(8, "big") + piece)
    file.truncate(300 << 20)
place = Place(str(base / "in"), str(base))
manifest = pack(base / "in", place, lambda ref, data: (base / "blobs" / ref.sha512).write_bytes(data) and None)
unpack(manifest, lambda ref: (base / "blobs" / ref.sha512).read_bytes(), base / "out", place)
assert (base / "out/large").stat().st_size == 300 << 20
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


@pytest.fixture
def release(tmp_path: Path) -> Path:
    folder = tmp_path / "release"
    (folder / "bin").mkdir(parents=True)
    (folder / "lib").mkdir()
    (folder / "bin/run").write_text("#!/bin/sh\n")
    (folder / "bin/run").chmod(0o755)
    (folder / "bin/again").hardlink_to(folder / "bin/run")
    (folder / "lib" / ("long" * 60)).write_bytes(b"content" * 1000)
    (folder / "lib/link").symlink_to("../bin/run")
    return folder


def _write(folder: bytes, tree: Tree) -> None:
    os.mkdir(folder)
    for name, what in tree.items():
        path = os.path.join(folder, name)
        if isinstance(what, dict):
            _write(path, what)
        else:
            with open(path, "wb") as file:
                file.write(what[0])
            os.chmod(path, what[1])


def _link(folder: Path, number: int) -> None:
    """A symbolic link, and a hard link to the first file that there is."""
    (folder / f"zz-symlink-{number}").symlink_to("some/where" * number or "a")
    for top, _, names in os.walk(os.fsencode(folder)):
        regular = sorted(name for name in names if not os.path.islink(os.path.join(top, name)))
        if regular:
            os.link(os.path.join(top, regular[0]), os.fsencode(folder / f"zz-hard-{number}"))
            return
