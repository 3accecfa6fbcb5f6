"""Files are whole or not there, whatever happens in the middle."""

import errno
import os
import resource
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from slap.system import environment, files
from slap.system.process import Command, SystemRunner

MEGABYTE = 1 << 20


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder in which less than a megabyte fits: a real small disk as root, a limit of this process otherwise."""
    with _small_disk(tmp_path) if environment.is_root() else _small_limit(tmp_path):
        yield tmp_path


@contextmanager
def _small_disk(folder: Path) -> Iterator[None]:
    SystemRunner().run(Command(("mount", "-t", "tmpfs", "-o", "size=512k", "none", str(folder)))).check()
    try:
        yield
    finally:
        SystemRunner().run(Command(("umount", str(folder)))).check()


@contextmanager
def _small_limit(folder: Path) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    former = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (MEGABYTE // 2, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, former)


def test_a_full_disk_leaves_the_former_content_and_no_litter(full_disk: Path) -> None:
    target = full_disk / "a"
    files.write(target, "before")
    with pytest.raises(OSError) as caught:
        files.write(target, b"x" * MEGABYTE)
    assert caught.value.errno in (errno.ENOSPC, errno.EFBIG)
    assert target.read_text() == "before"
    assert os.listdir(full_disk) == ["a"]


WRITE_LARGE = """
import sys
from pathlib import Path
from slap.system.files import write
write(Path(sys.argv[1]), b'x' * (1 << 28))
"""


def test_a_write_that_is_killed_leaves_the_former_content(tmp_path: Path) -> None:
    """The new content is so large that the kill comes while it is written."""
    files.write(tmp_path / "a", "before")
    with subprocess.Popen([sys.executable, "-c", WRITE_LARGE, str(tmp_path / "a")]) as writer:
        while len(os.listdir(tmp_path)) == 1 and writer.poll() is None:
            pass
        writer.kill()
    assert writer.returncode == -signal.SIGKILL
    assert (tmp_path / "a").read_text() == "before"
    (aside,) = tmp_path.glob(".a.*")
    aside.unlink()


def test_threads_that_write_the_same_file_each_write_it_whole(tmp_path: Path) -> None:
    contents = [letter * 100_000 for letter in "abcdefgh"]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda content: files.write(tmp_path / "a", content), contents * 4))
    assert (tmp_path / "a").read_text() in contents
    assert os.listdir(tmp_path) == ["a"]


def test_the_mode_is_exact_whatever_the_umask(tmp_path: Path) -> None:
    former = os.umask(0o077)
    try:
        files.write(tmp_path / "a", "", mode=0o666)
        files.make_folder(tmp_path / "b", mode=0o777)
    finally:
        os.umask(former)
    assert _mode(tmp_path / "a") == 0o666
    assert _mode(tmp_path / "b") == 0o777


def test_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    files.write(tmp_path / "precious", "before")
    (tmp_path / "a").symlink_to("precious")
    files.write(tmp_path / "a", "after")
    assert (tmp_path / "precious").read_text() == "before"
    assert not (tmp_path / "a").is_symlink()


def test_only_a_difference_is_written(tmp_path: Path) -> None:
    target = tmp_path / "a"
    steps = [("one", 0o644), ("one", 0o644), ("two", 0o644), ("two", 0o600), ("two", 0o600)]
    assert [files.write_if_changed(target, *step) for step in steps] == [True, False, True, True, False]


@pytest.mark.parametrize(
    ("content", "lines", "limit", "shown"),
    [
        ("", 3, 100, ""),
        ("a\nb\nc\n", 2, 100, "b\nc"),
        ("a\nb\nc\n", 9, 100, "a\nb\nc"),
        ("a\nb\nc\n", 0, 100, ""),
        ("aaaa\nbbbb\n", 9, 7, "a\nbbbb"),
        ("é\n", 1, 2, "\N{REPLACEMENT CHARACTER}"),
    ],
)
def test_the_tail_of_a_log_is_bounded(tmp_path: Path, content: str, lines: int, limit: int, shown: str) -> None:
    (tmp_path / "a").write_text(content)
    assert files.tail(tmp_path / "a", lines, limit) == shown


def test_what_is_not_there_reads_as_nothing(tmp_path: Path) -> None:
    assert files.tail(tmp_path / "a", 5) == ""
    assert files.read_or(tmp_path / "a", "default") == "default"
    files.remove_tree(tmp_path / "a")


REMOVE_AS_NOBODY = """
import os, sys
from pathlib import Path
from slap.system.files import remove_tree
if os.geteuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
folder = Path(sys.argv[1])
(folder / 'tree/locked/deeper').mkdir(parents=True)
(folder / 'tree/locked/deeper/file').touch()
(folder / 'kept').mkdir()
(folder / 'kept/file').touch()
(folder / 'tree/locked/link').symlink_to(folder / 'kept')
for name, mode in (('kept', 0o500), ('tree/locked/deeper', 0o500), ('tree/locked', 0), ('tree', 0o500)):
    (folder / name).chmod(mode)
remove_tree(folder / 'tree')
"""


def test_read_only_folders_are_removed_and_nothing_beside_them_is_touched() -> None:
    """Root would not notice a mode, so somebody else does it, in a folder that everybody can reach."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o777)
        subprocess.run([sys.executable, "-c", REMOVE_AS_NOBODY, name], check=True)
        assert os.listdir(folder) == ["kept"]
        assert (_mode(folder), _mode(folder / "kept")) == (0o777, 0o500)
        assert os.listdir(folder / "kept") == ["file"]


def test_pipes_and_dangling_links_are_removed(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("nowhere")
    for name in ("pipe", "link"):
        files.remove_tree(tmp_path / name)
    assert os.listdir(tmp_path) == []


HOLD = """
import sys
from pathlib import Path
from slap.system.files import exclusive
with exclusive(Path(sys.argv[1])):
    print('held', flush=True)
    sys.stdin.read()
"""


def test_a_lock_is_held_between_processes_until_its_holder_ends(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with holder:
        assert holder.stdout and holder.stdout.readline() == b"held\n"
        with files.exclusive(lock, wait=False) as got:
            assert not got
        holder.kill()
    with files.exclusive(lock, wait=False) as got:
        assert got


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_disk_is_flushed_and_no_other_one(tmp_path: Path) -> None:
    files.flush_disk(tmp_path)
    with pytest.raises(FileNotFoundError):
        files.flush_disk(tmp_path / "gone")
