"""Build the image `debian-12`: Debian with cloud-init, a few hundred megabytes, in minutes.

As root it is made by mmdebstrap directly; as anybody else in a user namespace, for which the computer has to allow such
ones and to have given the user some ids of others (/etc/subuid).
"""

from collections.abc import Iterable
from pathlib import Path

from slap.model.errors import InvalidInput
from slap.node.image.build_env import BuildEnvironment, chosen
from slap.node.image.namespace import check_namespaces
from slap.system import environment, files
from slap.system.debian import Kind, machine_sources
from slap.system.disk.boot import FIRST, SECTOR, Grub, beginning, start_linux
from slap.system.disk.ext4 import Ext4, fill_ext4
from slap.system.disk.qemu_img import QemuImg
from slap.system.process import Command

SUITE = "bookworm"
SIZE = 3 << 30  # of the disk; a machine's own is larger, and cloud-init lets the file system grow with it
LABEL = "debian-root"
INCLUDED = (
    *(
        "linux-image-cloud-amd64",
        "systemd-sysv",
        "systemd-resolved",
        "dbus",
        "libpam-systemd",
        "udev",
        "initramfs-tools",
    ),
    *("openssh-server", "cloud-init", "cloud-guest-utils", "fdisk", "qemu-guest-agent"),
    *("ca-certificates", "iproute2", "iputils-ping", "less", "nano", "netbase", "procps", "sudo", "zstd"),
)
GRUB_PACKAGES = ("grub-pc-bin", "grub-common", "libc6", "liblzma5", "libdevmapper1.02.1", "libselinux1", "libudev1")
_GRUB_LIBRARIES = ("libpcre2-8-0",)
_PATIENCE = 3600.0
# In a user namespace its root is somebody else than who builds, and may not look into a private folder.
_OPEN_TO_ALL = Path("/var/tmp")

_KERNEL_OPTIONS = f"root=LABEL={LABEL} ro console=tty0 console=ttyS0,115200 quiet net.ifnames=0"
# The links in / are kept by Debian itself to the newest kernel and the one before.
_GRUB = start_linux("/vmlinuz", _KERNEL_OPTIONS, "/initrd.img")
_CLOUD = """\
# What this image is: its seed is a disk with the label cidata, and root logs in with the keys of the seed.
datasource_list: [NoCloud, None]
disable_root: false
ssh_pwauth: false
manage_etc_hosts: true
apt: {preserve_sources_list: true}
locale: false
ssh_genkeytypes: [ed25519, ecdsa]
system_info:
  network: {renderers: [networkd]}
"""
_CPUS = """\
# A processor that is plugged in does nothing before somebody says so.
SUBSYSTEM=="cpu", ACTION=="add", TEST=="online", ATTR{online}!="1", ATTR{online}="1"
"""
# The first boot reads all of the initrd by the BIOS, which is slow: only drivers of disks are in it.
# A shell's, with the new system's folder as its argument. A machine that starts from the image makes its own ids and keys.
_FINISH = f"""\
set -eu
root=$1
echo 'LABEL={LABEL} / ext4 errors=remount-ro,discard 0 1' >"$root/etc/fstab"
echo debian >"$root/etc/hostname"
cat >"$root/etc/cloud/cloud.cfg.d/90_image.cfg" <<'END'
{_CLOUD}END
cat >"$root/etc/udev/rules.d/80-hotplug-cpu.rules" <<'END'
{_CPUS}END
chroot "$root" systemctl enable systemd-networkd
echo 'MODULES=list' >"$root/etc/initramfs-tools/conf.d/modules"
printf '%s\\n' virtio_pci virtio_blk virtio_scsi sd_mod ata_piix ahci nvme ext4 >>"$root/etc/initramfs-tools/modules"
chroot "$root" update-initramfs -u
rm -f "$root"/etc/ssh/ssh_host_* "$root/var/lib/dbus/machine-id" "$root/var/lib/systemd/random-seed"
: >"$root/etc/machine-id"
"""
# Arguments: the archive of the system, the folder to unpack it into, and what makes the file system of that.
_FILL = """\
set -eu
archive=$1 folder=$2
shift 2
mkdir "$folder"
trap 'rm -rf "$folder"' EXIT
tar -C "$folder" --numeric-owner --xattrs --exclude='./dev/*' -xpf "$archive"
rm "$archive"
"$@"
"""


def build_debian(bench: BuildEnvironment, image: Path) -> None:
    """Build the image, a qcow2, at a path."""
    program, as_root = environment.program("mmdebstrap"), environment.is_root()
    if not as_root:
        check_namespaces(bench.runner)
    apt = bench.apt()
    wanted = (*GRUB_PACKAGES, *_GRUB_LIBRARIES)
    bench.say("Fetching GRUB")
    grub = Grub(bench.unpacked(apt, chosen(apt.closure(wanted), wanted), bench.scratch / "grub", Grub.WANTED))
    bench.say("Installing Debian (minutes)")
    system = bench.scratch / "system.tar"
    argv = bootstrap(program, bench.scratch, sources(Path("/etc/apt")), system)
    _run(bench, argv, bench.scratch if as_root else _OPEN_TO_ALL)
    bench.say("Making the disk")
    raw = bench.scratch / "disk.raw"
    with raw.open("wb") as disk:
        disk.write(beginning(grub.boot(), grub.core(_GRUB, bench.scratch, bench.runner), SIZE // SECTOR))
        disk.truncate(SIZE)
    form = Ext4(FIRST * SECTOR, SIZE - FIRST * SECTOR, LABEL)
    folder = bench.scratch / "system"
    _run(bench, fill(system, folder, fill_ext4(form, folder, raw), as_root), bench.scratch)
    bench.say("Compressing it")
    QemuImg(bench.runner).convert(raw, image)
    raw.unlink()


def sources(etc: Path) -> dict[str, str]:
    """This machine's package sources, for the new system too. Raises InvalidInput on another Debian."""
    found = {name: text for name, text in machine_sources(etc, Kind.BINARY).items() if SUITE in text}
    if not found:
        raise InvalidInput(
            "This computer has no sources of Debian 12.", f"No file in {etc} names {SUITE}.",
            "Build the image on a computer with Debian 12; others take it from a cache: slapos image push debian-12",
        )  # fmt: skip
    return found


def bootstrap(program: str, scratch: Path, found: dict[str, str], system: Path) -> tuple[str, ...]:
    """mmdebstrap's command line; writes the files that it reads into `scratch`."""
    paths = []
    for name, text in found.items():
        paths.append(scratch / name)
        files.write(paths[-1], text)
    return (
        program, "--variant=apt", "--format=tar", f"--include={','.join(INCLUDED)}",
        f"--customize-hook={_FINISH}", SUITE, str(system), *map(str, paths),
    )  # fmt: skip


def fill(archive: Path, folder: Path, make: Iterable[str], as_root: bool) -> tuple[str, ...]:
    """The script that unpacks the system into a file system with all owners kept."""
    alone = () if as_root else ("unshare", "--map-root-user", "--map-auto", "--")
    return (*alone, "sh", "-c", _FILL, "fill", str(archive), str(folder), *make)


def _run(bench: BuildEnvironment, argv: tuple[str, ...], scratch: Path) -> None:
    env = environment.clean(bench.scratch, {"DEBIAN_FRONTEND": "noninteractive", "TMPDIR": str(scratch)})
    bench.runner.run(Command(argv, bench.scratch, env, timeout=_PATIENCE)).check()
