"""What goes into images that are built here, and how that is asked for."""

from pathlib import Path

import pytest

from slap.model.errors import InvalidInput, NotFound, SlapError
from slap.node.image.build_env import chosen, is_kernel
from slap.node.image.debian import bootstrap, fill, sources
from slap.node.image.namespace import Builder, check_namespaces
from slap.node.image.recipes import RECIPES, recipe_of
from slap.node.image.tiny_image import early_items, items, modules_for
from slap.system.debian import Package
from slap.system.process import Command, Completed, FakeRunner

ORDER = """\
kernel/drivers/block/virtio_blk.ko:
kernel/drivers/net/virtio_net.ko: kernel/drivers/net/net_failover.ko kernel/net/core/failover.ko
kernel/drivers/net/net_failover.ko: kernel/net/core/failover.ko
kernel/net/core/failover.ko:
kernel/drivers/char/hw_random/virtio-rng.ko:
"""


def a_package(name: str) -> Package:
    return Package(f"{name}_1_amd64.deb", 1, "0" * 64)


def test_modules_come_with_what_they_need_and_those_in_the_kernel_are_left_out() -> None:
    assert modules_for(["virtio_net", "ext4", "virtio_rng"], ORDER) == [
        "kernel/drivers/char/hw_random/virtio-rng.ko",
        "kernel/drivers/net/net_failover.ko",
        "kernel/drivers/net/virtio_net.ko",
        "kernel/net/core/failover.ko",
    ]


def test_the_kernel_is_chosen_whatever_its_version() -> None:
    names = ("linux-image-6.1.0-56-cloud-amd64", "linux-image-cloud-amd64", "busybox-static", "perl")
    packages = tuple(map(a_package, names))
    assert [is_kernel(each) for each in packages] == [True, False, False, False]
    assert [each.name for each in chosen(packages, ("busybox-static",))] == [names[0], names[2]]
    with pytest.raises(NotFound, match="dropbear-bin"):
        chosen(packages, ("busybox-static", "dropbear-bin"))


@pytest.fixture
def unpacked(tmp_path: Path) -> Path:
    for name in ("libc.so.6", "libz.so.1", "libz.so.1.2.13", "libxyz.so.1", "ld-linux-x86-64.so.2"):
        (tmp_path / "usr/lib/x86_64-linux-gnu" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "usr/lib/x86_64-linux-gnu" / name).touch()
    return tmp_path


def test_the_disk_has_programs_libraries_scripts_and_nobody_elses_password(unpacked: Path) -> None:
    found = {item.path: item for item in items(unpacked, "6.1", ORDER, (["sh", "busybox", "resize2fs"], b"initrd"))}
    assert found["bin/sh"].link == "busybox"
    assert "bin/resize2fs" not in found
    assert {"usr/sbin/dropbear", "etc/boot.sh", "etc/inittab", "boot/initrd"} <= set(found)
    libraries = {path.rpartition("/")[2] for path in found if path.startswith("usr/lib/")}
    assert libraries == {"libc.so.6", "libz.so.1", "ld-linux-x86-64.so.2"}
    assert (found["etc/shadow"].mode, found["root"].mode) == (0o600, 0o700)
    assert "*" in found["etc/shadow"].data().decode()
    assert not [path for path in found if "host_key" in path or "machine-id" in path]


def test_what_runs_first_has_the_modules_of_disks_alone(unpacked: Path) -> None:
    names = [item.path for item in early_items(unpacked, "6.1", ORDER)]
    assert "lib/modules/6.1/kernel/drivers/block/virtio_blk.ko" in names
    assert not [name for name in names if "net" in name]


def test_debian_is_made_from_the_machines_own_sources(tmp_path: Path) -> None:
    listed = tmp_path / "sources.list.d"
    listed.mkdir()
    (listed / "other.list").write_text("deb http://h/other trixie main\n")
    with pytest.raises(InvalidInput, match="no sources of Debian 12"):
        sources(tmp_path)
    (listed / "debian.sources").write_text(
        "Types: deb deb-src\nURIs: http://h/debian\nSuites: bookworm\nComponents: main\n"
    )
    found = sources(tmp_path)
    assert list(found) == ["debian.sources"]
    argv = bootstrap("/usr/bin/mmdebstrap", tmp_path, found, tmp_path / "system.tar")
    assert argv[-3:] == ("bookworm", str(tmp_path / "system.tar"), str(tmp_path / "debian.sources"))
    (finish,) = [word for word in argv if word.startswith("--customize-hook=")]
    assert "ssh_host_" in finish and ': >"$root/etc/machine-id"' in finish


def test_owners_are_kept_by_root_or_in_a_namespace() -> None:
    argv = fill(Path("/s/a.tar"), Path("/s/f"), ("mke2fs", "x"), as_root=True)
    alone = fill(Path("/s/a.tar"), Path("/s/f"), ("mke2fs", "x"), as_root=False)
    assert (argv[0], argv[-4:]) == ("sh", ("/s/a.tar", "/s/f", "mke2fs", "x"))
    assert alone == ("unshare", "--map-root-user", "--map-auto", "--", *argv)


@pytest.mark.parametrize(
    ("subuid", "program", "kernel", "words"),
    [
        ("ann:100000:65536\n", "/usr/bin/newuidmap", 0, ""),
        ("1000:100000:65536\n", "/usr/bin/newuidmap", 0, ""),
        ("ann:100000:65536\n", "", 0, "apt-get install uidmap"),
        ("bob:100000:65536\nann:200000:10\n", "/usr/bin/newuidmap", 0, "usermod --add-subuids 200010-265545"),
        ("", "/usr/bin/newuidmap", 0, "usermod --add-subuids 100000-165535 --add-subgids 100000-165535 ann"),
        ("ann:100000:65536\n", "/usr/bin/newuidmap", 1, "unprivileged_userns_clone"),
    ],
)
def test_without_root_what_is_missing_is_named_before_anything_is_fetched(
    tmp_path: Path, subuid: str, program: str, kernel: int, words: str
) -> None:
    for name in ("subuid", "subgid"):
        (tmp_path / name).write_text(subuid)
    runner = FakeRunner({"unshare": Completed(Command(("unshare",)), kernel, "", "Operation not permitted")})
    who = Builder("ann", 1000, tmp_path, program)
    if not words:
        check_namespaces(runner, who)
    else:
        with pytest.raises(SlapError) as caught:
            check_namespaces(runner, who)
        assert words in str(caught.value)


def test_an_image_without_recipe_is_told_with_those_that_there_are() -> None:
    assert set(RECIPES) == {"tiny", "debian-12"}
    with pytest.raises(NotFound, match="no recipe") as caught:
        recipe_of("windows")
    assert "tiny, debian-12" in caught.value.details
