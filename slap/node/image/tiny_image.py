"""Build the image `tiny`: kernel, BusyBox, SSH and web server, for machines of 96 MiB, in seconds.

It is put together from Debian's packages without installing them, and without being root.
"""

import re
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from slap.model.errors import NotFound
from slap.node.image.build_env import BuildEnvironment, chosen
from slap.system.disk.boot import FIRST, SECTOR, Grub, beginning, start_linux
from slap.system.disk.ext4 import Ext4, make_ext4
from slap.system.disk.qemu_img import QemuImg
from slap.system.disk.tree import Item, cpio, write_tree
from slap.system.environment import CLEAN_PATH
from slap.system.process import Command

WANTED = ("linux-image-cloud-amd64", "busybox-static", "dropbear-bin", "e2fsprogs", "grub-pc-bin", "grub-common")
# What is unpacked of all that these depend on: they themselves, and libraries.
PACKAGES = (
    *("busybox-static", "dropbear-bin", "e2fsprogs", "grub-pc-bin", "grub-common"),
    *("libc6", "libcrypt1", "libtomcrypt1", "libtommath1", "libgmp10", "zlib1g"),
    *("libext2fs2", "libcom-err2", "libblkid1", "libuuid1"),
    *("liblzma5", "libdevmapper1.02.1", "libselinux1", "libudev1", "libpcre2-8-0"),
)
SIZE = 64 << 20  # of the disk; a machine's own disk is larger, and the file system grows with it
LABEL = "tiny-root"
AGE = 1_700_000_000  # of everything in it, so that the same packages make the same image

_GUEST = Path(__file__).parent / "guest"
_LIBRARIES = "usr/lib/x86_64-linux-gnu"
_LOADER = "ld-linux-x86-64.so.2"
# Of libraries that programs in the image use.
_USED = ("c", "m", "crypt", "tomcrypt", "tommath", "gmp", "z", "ext2fs", "com_err", "e2p", "blkid", "uuid", "pthread")
_PROGRAMS = {
    "usr/sbin/dropbear": "usr/sbin/dropbear",
    "usr/bin/dropbearkey": "usr/bin/dropbearkey",
    "usr/sbin/resize2fs": "usr/sbin/resize2fs",
}
# For the disk that the machine starts from, whatever it is attached to.
_EARLY = ("virtio_pci", "virtio_blk", "virtio_scsi", "sd_mod", "ata_piix", "ata_generic")
_LATE = (
    *("virtio_net", "virtio_rng", "virtio_balloon", "virtio_console", "button", "evdev"),
    *("sr_mod", "isofs", "vfat", "nls_ascii", "nls_cp437", "nls_utf8"),
)
# What is unpacked: programs, libraries, GRUB, and the modules that those above can need.
_UNPACKED = re.compile(
    r"boot/vmlinuz-|usr/s?bin/(busybox|dropbear|dropbearkey|resize2fs|grub-mkimage)$"
    rf"|{_LIBRARIES}/[^/]+\.so[.0-9]*$|usr/lib/grub/i386-pc/"
    r"|usr/lib/modules/[^/]+/(modules\.[a-z.]+$|kernel/(arch|block|crypto|lib|mm|net/core)/"
    r"|kernel/drivers/(acpi|ata|block|cdrom|char|input|scsi|virtio)/|kernel/drivers/net/[a-z_]+\.ko$"
    r"|kernel/fs/(fat|isofs|nls)/)"
)
_SCRIPTS = {
    "boot.sh": "etc/boot.sh", "stop.sh": "etc/stop.sh", "lease.sh": "etc/lease.sh",
    "power.sh": "etc/acpi/PWRF/00000080", "event.sh": "etc/event.sh", "inittab.cfg": "etc/inittab",
}  # fmt: skip
_TEXTS = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\n",
    "etc/group": "root:x:0:\ntty:x:5:\n",
    "etc/shells": "/bin/sh\n",
    "etc/hostname": "tiny\n",
    "etc/profile": 'export PATH=/bin:/sbin:/usr/bin:/usr/sbin\nexport PS1="\\u@\\h:\\w# "\n',
    "var/www/index.html": "It works.\n",
}
_KERNEL_OPTIONS = "console=tty0 console=ttyS0,115200 quiet loglevel=3 net.ifnames=0 panic=10"


def build_tiny(bench: BuildEnvironment, image: Path) -> None:
    """Build the image, a qcow2, at a path."""
    apt = bench.apt()
    bench.say("Putting tiny together")
    root = bench.unpacked(apt, chosen(apt.closure(WANTED), PACKAGES), bench.scratch / "packages", _UNPACKED)
    kernels = sorted(path.name.removeprefix("vmlinuz-") for path in root.glob("boot/vmlinuz-*"))
    if not kernels:
        raise NotFound("No kernel is in Debian's package of it.")
    kernel = kernels[-1]
    _index_modules(bench, root, kernel)
    order = (root / "usr/lib/modules" / kernel / "modules.dep").read_text()
    applets = _applets(bench, root)
    initrd = cpio(early_items(root, kernel, order))
    tree = bench.scratch / "tree"
    write_tree(items(root, kernel, order, (applets, initrd)), tree, AGE)
    raw = bench.scratch / "disk.raw"
    with raw.open("wb") as disk:
        grub, script = Grub(root), start_linux("/boot/vmlinuz", _KERNEL_OPTIONS, "/boot/initrd")
        disk.write(beginning(grub.boot(), grub.core(script, bench.scratch, bench.runner), SIZE // SECTOR))
        disk.truncate(SIZE)
    make_ext4(Ext4(FIRST * SECTOR, SIZE - FIRST * SECTOR, LABEL, AGE), tree, raw, bench.runner)
    # What is compressed is unpacked anew by each machine, and by its boot loader twice.
    QemuImg(bench.runner).convert(raw, image, compressed=False)
    shutil.rmtree(tree)


def early_items(root: Path, kernel: str, order: str) -> list[Item]:
    """The files of the initial RAM disk: enough to find the disk."""
    wanted = modules_for(_EARLY, order)
    return [
        Item("init", _GUEST / "init.sh"),
        Item("bin/busybox", root / "usr/bin/busybox"),
        *(Item(name) for name in ("proc", "sys", "dev", "root")),
        *_module_items(root, kernel, wanted, order),
    ]


def items(root: Path, kernel: str, order: str, made: tuple[Iterable[str], bytes]) -> list[Item]:
    """The files on the disk; `made` holds the names of BusyBox's programs, and the initial RAM disk."""
    applets, initrd = made
    programs = {Path(name).name for name in _PROGRAMS.values()}
    return [
        Item("boot/vmlinuz", root / f"boot/vmlinuz-{kernel}", mode=0o644),
        Item("boot/initrd", initrd, mode=0o644),
        Item("bin/busybox", root / "usr/bin/busybox"),
        *(Item(f"bin/{name}", link="busybox") for name in applets if name not in programs | {"busybox"}),
        Item("sbin", link="bin"),
        *(Item(path, root / source) for path, source in _PROGRAMS.items()),
        *(Item(f"{_LIBRARIES}/{path.name}", path) for path in _libraries(root)),
        Item("lib64", link=_LIBRARIES),
        *(Item(path, _GUEST / name, mode=0o644 if name.endswith(".cfg") else 0o755) for name, path in _SCRIPTS.items()),
        *(Item(path, text.encode(), mode=0o644) for path, text in _TEXTS.items()),
        Item("etc/shadow", b"root:*:19000:0:99999:7:::\n", mode=0o600),
        Item("root", mode=0o700),
        Item("tmp", mode=0o1777),
        *(Item(name) for name in ("proc", "sys", "dev", "run", "mnt", "home", "var/log")),
        *_module_items(root, kernel, modules_for((*_EARLY, *_LATE), order), order),
    ]


def modules_for(names: Iterable[str], order: str) -> list[str]:
    """The files of kernel modules and of those that they need, from the lines of modules.dep."""
    needs = dict(_dependencies(order))
    by_name = {Path(path).stem.replace("-", "_"): path for path in needs}
    wanted = [by_name[name] for name in names if name in by_name]  # others are part of the kernel
    return sorted({path for each in wanted for path in (each, *needs[each])})


def _dependencies(order: str) -> Iterator[tuple[str, list[str]]]:
    for line in order.splitlines():
        path, _, needs = line.partition(":")
        yield path, needs.split()


def _module_items(root: Path, kernel: str, paths: list[str], order: str) -> Iterator[Item]:
    folder = f"lib/modules/{kernel}"
    for path in paths:
        yield Item(f"{folder}/{path}", root / "usr" / folder / path, mode=0o644)
    kept = "".join(f"{line}\n" for line in order.splitlines() if line.partition(":")[0] in paths)
    yield Item(f"{folder}/modules.dep", kept.encode(), mode=0o644)


def _libraries(root: Path) -> list[Path]:
    folder = root / _LIBRARIES
    found = [path for name in _USED for path in sorted(folder.glob(f"lib{name}.so.*")) if path.name.count(".so.") == 1]
    return [folder / _LOADER, *(path for path in found if len(path.name.split(".so.")[1].split(".")) == 1)]


def _index_modules(bench: BuildEnvironment, root: Path, kernel: str) -> None:
    """Write the index of kernel modules by depmod."""
    argv = (str(root / "usr/bin/busybox"), "depmod", "-b", str(root / "usr"), kernel)
    bench.runner.run(Command(argv, env={"PATH": CLEAN_PATH}, timeout=60)).check()


def _applets(bench: BuildEnvironment, root: Path) -> list[str]:
    argv = (str(root / "usr/bin/busybox"), "--list")
    return bench.runner.run(Command(argv, env={"PATH": CLEAN_PATH}, timeout=60)).check().stdout.split()
