"""The beginning of a disk that a PC boots from: GRUB's two parts, and a table with one partition."""

import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from slap.model.errors import SlapError
from slap.system import environment
from slap.system.process import Command, Runner

SECTOR = 512
FIRST = 2048  # the sector at which the partition begins; GRUB's second part lies before
_CODE = 440  # bytes of the first sector that are GRUB's
_SIGNATURE = b"\x55\xaa"
_DISK = 0x51A9D15C  # its number, by which nobody looks for it
_LINUX = 0x83
_LIBRARIES = "usr/lib/x86_64-linux-gnu"
_ANY = b"\xfe\xff\xff"  # a place on the disk in a notation that is too small for it
_MODULES = ("biosdisk", "part_msdos", "ext2", "linux16")


@dataclass(frozen=True)
class Grub:
    """Where GRUB is, unpacked from its Debian packages below a folder, with the libraries that it needs."""

    root: Path

    # What of the packages is needed, and where it is looked for.
    WANTED: ClassVar[re.Pattern[str]] = re.compile(
        rf"usr/bin/grub-mkimage$|usr/lib/grub/i386-pc/|{_LIBRARIES}/[^/]+\.so[.0-9]*$"
    )

    @property
    def modules(self) -> Path:
        return self.root / "usr/lib/grub/i386-pc"

    def core(self, script: str, scratch: Path, runner: Runner) -> bytes:
        """GRUB's second part, which runs a script."""
        words, made = scratch / "grub.cfg", scratch / "core.img"
        words.write_text(script)
        libraries = self.root / _LIBRARIES
        argv = (
            str(libraries / "ld-linux-x86-64.so.2"), "--library-path", str(libraries),
            str(self.root / "usr/bin/grub-mkimage"), "-O", "i386-pc", "-d", str(self.modules),
            "-p", "(,msdos1)/boot/grub", "-c", str(words), "-o", str(made), *_MODULES,
        )  # fmt: skip
        runner.run(Command(argv, env={"PATH": environment.CLEAN_PATH}, timeout=60)).check()
        return made.read_bytes()

    def boot(self) -> bytes:
        return (self.modules / "boot.img").read_bytes()


def start_linux(kernel: str, options: str, initrd: str) -> str:
    """GRUB's script that starts a kernel of the first partition.

    By its 16-bit entry: by the other one an emulated kernel takes 4 s more until it says its first word.
    """
    return f"linux16 {kernel} {options}\ninitrd16 {initrd}\nboot\n"


def beginning(boot: bytes, core: bytes, sectors: int) -> bytes:
    """What comes before the partition, on a disk of so many sectors. Raises SlapError for a core that is too large."""
    if len(core) > (FIRST - 1) * SECTOR:
        raise SlapError(f"GRUB has {len(core)} bytes, which is more than fits before the first partition.")
    entry = b"\x80" + _ANY + bytes([_LINUX]) + _ANY + struct.pack("<II", FIRST, sectors - FIRST)
    table = boot[:_CODE] + struct.pack("<IH", _DISK, 0) + entry + b"\0" * 48 + _SIGNATURE
    return table + core
