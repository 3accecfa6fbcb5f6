"""Validate images before they are used."""

from pathlib import Path

from slap.model.vm.image import DiskFormat
from slap.system.disk.qemu_img import BrokenImage, ImageInfo, QemuImg

_QCOW2 = b"QFI\xfb"
LARGEST = 64 << 40  # bytes of a disk
# Beginnings of what is not the bytes of a disk, with what it is called. As a disk it would never boot.
_OTHERS = {
    b"KDMV": "vmdk", b"COWD": "vmdk", b"# Disk DescriptorFile": "vmdk", b"vhdxfile": "vhdx", b"conectix": "vhd",
    b"<<< ": "vdi", b"\x1f\x8b": "gzip", b"\xfd7zXZ\0": "xz", b"BZh": "bzip2", b"PK\x03\x04": "zip",
    b"\x28\xb5\x2f\xfd": "zstd", b"<!DOCTYPE": "HTML", b"<html": "HTML",
}  # fmt: skip


def kind_of(beginning: bytes) -> DiskFormat:
    """The format of an image by its first bytes; raises BrokenImage for an unknown one."""
    if beginning.startswith(_QCOW2):
        return "qcow2"
    other = next((name for signs, name in _OTHERS.items() if beginning.startswith(signs)), "")
    if other or not beginning:
        raise BrokenImage(
            "This is no image that machines can start from.",
            f"It is {other}; only qcow2 and raw disks are taken." if other else "It is empty.",
            "Convert it: qemu-img convert -O qcow2 FILE IMAGE.qcow2",
        )
    return "raw"


def objection(seen: ImageInfo) -> str:
    """Why an intact image must not be used; empty when it may."""
    if seen.backing_file:
        return f"It is only what differs from another file, {seen.backing_file}."
    if seen.data_file:
        return f"Its data is in another file, {seen.data_file}."
    if not 0 < seen.virtual_size <= LARGEST:
        return f"Its disk has {seen.virtual_size} bytes."
    return ""


def judge(path: Path, qemu: QemuImg) -> tuple[DiskFormat, int]:
    """The format and disk size of an image; raises BrokenImage for one that cannot be used."""
    with path.open("rb") as file:
        kind = kind_of(file.read(64))
    seen = qemu.info(path, kind)
    if words := objection(seen):
        raise BrokenImage("This image cannot be used.", words, "qemu-img convert makes one image of both.")
    if kind == "qcow2":
        qemu.check(path)
    return kind, seen.virtual_size
