"""Whether guests are run by the processor (KVM) or by emulation: found out by booting something, not by looking for a file.

On some computers /dev/kvm is there and guests hang on it. So the smallest of all guests, a boot sector, has to come to its
end by it. What came of that holds until the computer is started anew, or its qemu is another one.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from slap.model.base import Frozen
from slap.model.errors import CommandFailed
from slap.model.vm.machine import Acceleration
from slap.system import environment, files
from slap.system.libvirt.domain import EMULATOR
from slap.system.process import Command, Runner

KVM_DEVICE = Path("/dev/kvm")
# A guest of a dozen instructions takes a tenth of a second; one that is still at it after this long hangs.
_PATIENCE = 4.0
# It writes 16 to the port by which it ends qemu, which makes of that 16 * 2 + 1.
_ENDED = 33
# cli; mov dx, 0x501; mov al, 16; out dx, al; hlt
_CODE = bytes.fromhex("fa ba 01 05 b0 10 ee f4")
_DISK = _CODE.ljust(510, b"\0") + b"\x55\xaa" + bytes((1 << 20) - 512)


class Verdict(Frozen):
    """Whether KVM works here, and why not; `boot` and `qemu` say for how long that holds."""

    kvm: bool
    words: str = ""
    boot: str = ""
    qemu: float = 0.0


@dataclass(frozen=True)
class Prober:
    """Finds out once, and keeps the answer; `shared` is where all partitions of a node may look."""

    runner: Runner
    own: Path
    shared: Path | None = None

    def has_kvm(self, wish: Acceleration) -> bool:
        """Raises CommandFailed when KVM is insisted on and does not work."""
        if wish == "emulation":
            return False
        verdict = self.verdict()
        if wish == "kvm" and not verdict.kvm:
            raise CommandFailed(
                "This computer cannot accelerate machines.",
                verdict.words,
                "Order the machine with acceleration auto, or on a computer with the capability kvm.",
            )
        return verdict.kvm

    def verdict(self) -> Verdict:
        if not os.access(KVM_DEVICE, os.R_OK | os.W_OK):
            return Verdict(kvm=False, words=f"Its user may not open {KVM_DEVICE}, or there is none.")
        for path in (self.shared, self.own):
            if path is not None and (kept := _kept(path)):
                return kept
        found = probe(self.runner, self.own.parent)
        files.write(self._place(), found.model_dump_json(), 0o644)
        return found

    def _place(self) -> Path:
        """For all partitions, where one user has all of them."""
        shared = self.shared
        return shared if shared is not None and os.access(shared.parent, os.W_OK) else self.own


def probe(runner: Runner, scratch: Path) -> Verdict:
    """Boot the smallest guest by KVM."""
    disk = scratch / "probe.img"
    files.write(disk, _DISK, 0o600)
    argv = (
        EMULATOR, "-accel", "kvm", "-machine", "q35", "-cpu", "host", "-m", "64", "-display", "none", "-nodefaults",
        "-drive", f"file={disk},format=raw,if=none,id=disk", "-device", "ide-hd,drive=disk,bootindex=0", "-net", "none",
        "-device", "isa-debug-exit,iobase=0x501,iosize=1",
    )  # fmt: skip
    try:
        done = runner.run(Command(argv, env={"PATH": environment.CLEAN_PATH}, timeout=_PATIENCE, longest=1 << 16))
    finally:
        disk.unlink(missing_ok=True)
    said = done.stderr.strip().splitlines()
    words = "Guests hang on it." if done.status == 124 else f"Guests do not start by it: {said[-1] if said else ''}"
    ended = done.status == _ENDED
    return Verdict(kvm=ended, words="" if ended else words, boot=_boot(), qemu=_qemu())


def _kept(path: Path) -> Verdict | None:
    try:
        kept = Verdict.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
    return kept if (kept.boot, kept.qemu) == (_boot(), _qemu()) else None


def _boot() -> str:
    return files.read_or(Path("/proc/sys/kernel/random/boot_id"), "").strip()


def _qemu() -> float:
    path = Path(EMULATOR)
    return path.stat().st_mtime if path.exists() else 0.0
