"""Project quotas: the fake, and the kernel's on a file system in a file, for root and where the kernel has them.

Where it has none, a file system with quotas cannot be mounted, and a node finds none to use.
"""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from slap.system.host.quota import DiskQuotas, DiskUse, FakeQuotas, ProjectQuotas, find_quota_device, open_quotas

MIB = 1 << 20
MOST = DiskUse(2 * MIB, 20)
PROJECT = 70_001


@contextmanager
def file_system(folder: Path) -> Iterator[bool]:
    """An ext4 file system with quotas of projects in a folder, while the block runs; whether there is one."""
    disk = folder.with_name("disk")
    with disk.open("wb") as file:
        file.truncate(64 * MIB)
    words = ("mkfs.ext4", "-q", "-O", "quota,project", "-E", "quotatype=prjquota", str(disk))
    path = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    subprocess.run(words, env=path, check=True)
    mount = ("mount", "-o", "loop,prjquota", str(disk), str(folder))
    is_mounted = subprocess.run(mount, env=path, check=False, capture_output=True).returncode == 0
    try:
        yield is_mounted
    finally:
        if is_mounted:
            subprocess.run(("umount", str(folder)), env=path, check=True)


def as_nobody(folder: Path, *argv: str) -> str:
    """What a program says in a folder that everybody may write in: quotas do not hold for root."""
    for place in (folder, folder / "sub"):
        place.chmod(0o777)
    done = subprocess.run(
        argv,
        cwd=folder,
        user=65534,
        group=65534,
        env={"PATH": "/usr/bin:/bin"},
        check=False,
        capture_output=True,
        text=True,
    )
    return done.stderr


def _fake(folder: Path) -> Iterator[DiskQuotas]:
    yield FakeQuotas()


def _real(folder: Path) -> Iterator[DiskQuotas]:
    with file_system(folder) as is_mounted:
        found = open_quotas(folder)
        assert (found is not None) == is_mounted
        yield found or FakeQuotas()


@pytest.fixture(params=[_fake, _real], ids=["fake", "real"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[DiskQuotas, Path]]:
    make: Callable[[Path], Iterator[DiskQuotas]] = request.param
    folder = tmp_path / "file-system"
    folder.mkdir()
    for quotas in make(folder):
        partition = folder / "slappart0"
        partition.mkdir()
        yield quotas, partition


def test_what_was_there_and_what_comes_is_counted_and_refused(place: tuple[DiskQuotas, Path]) -> None:
    quotas, partition = place
    (partition / "sub").mkdir()
    (partition / "sub/before").write_bytes(bytes(MIB))
    (partition / "link").symlink_to("/etc/passwd")
    quotas.set(partition, PROJECT, MOST)
    if isinstance(quotas, ProjectQuotas):
        assert quotas.used(PROJECT).bytes >= MIB
        assert "quota exceeded" in as_nobody(partition, "dd", "if=/dev/zero", "of=sub/more", "bs=4096", "count=768")
        quotas.set(partition, PROJECT, DiskUse(10 * MIB, MOST.files))
        assert "quota" not in as_nobody(partition, "dd", "if=/dev/zero", "of=sub/more", "bs=4096", "count=768")
        assert "quota exceeded" in as_nobody(partition, "touch", *map(str, range(30)))
        assert quotas.used(PROJECT).files == MOST.files
    else:
        assert isinstance(quotas, FakeQuotas)
        assert (quotas.projects, quotas.limits) == ({partition: PROJECT}, {PROJECT: MOST})


def test_an_empty_partition_has_no_project_and_no_limit(place: tuple[DiskQuotas, Path]) -> None:
    quotas, partition = place
    quotas.set(partition, PROJECT, MOST)
    quotas.remove(partition, PROJECT)
    (partition / "large").write_bytes(bytes(3 * MIB))
    assert quotas.used(PROJECT) == DiskUse(0, 0)


def test_of_a_partition_that_is_gone_the_limit_goes_too(place: tuple[DiskQuotas, Path]) -> None:
    quotas, partition = place
    quotas.set(partition, PROJECT, MOST)
    partition.rmdir()
    quotas.remove(partition, PROJECT)
    assert quotas.used(PROJECT) == DiskUse(0, 0)


MOUNTS = """\
20 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard
21 20 254:1 / /srv rw,relatime shared:1 - ext4 /dev/vdb rw,prjquota
22 21 254:2 / /srv/with\\040space rw - xfs /dev/vdc rw,attr2,prjquota
23 21 254:3 / /srv/counted rw - xfs /dev/vdd rw,pqnoenforce
"""


@pytest.mark.parametrize(
    ("folder", "device"),
    [
        ("/srv/slapgrid", "/dev/vdb"),
        ("/srv/with space/slapgrid", "/dev/vdc"),
        ("/srv/counted/slapgrid", None),
        ("/srvs", None),
    ],
)
def test_quotas_are_those_of_the_mount_that_has_the_folder(folder: str, device: str | None) -> None:
    assert find_quota_device(MOUNTS, Path(folder)) == device


def test_who_is_not_root_has_none(tmp_path: Path) -> None:
    assert os.geteuid() == 0 or open_quotas(tmp_path) is None
