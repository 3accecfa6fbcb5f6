"""Find out whether guests run by KVM or by emulation: by booting one, not by looking for a device.

On some computers /dev/kvm is there and guests hang on it; on others, such as virtual machines without virtualization of
their own, they are many times slower than by emulation. So the smallest of all guests, a boot sector, has to come to its
end by it, quickly. That it did, or that it hung, holds until the computer is started anew, or its qemu is
another one; that it did not start, or not in time, may be the fault of the moment, and holds for some minutes.
"""

import os
import signal
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from slap.model.base import Frozen
from slap.model.errors import CommandFailed
from slap.model.vm.machine import Acceleration
from slap.system import environment, files
from slap.system.clock import Clock, SystemClock
from slap.system.libvirt.domain import EMULATOR
from slap.system.process import Command, Completed, Runner

KVM_DEVICE = Path("/dev/kvm")
VERDICT = "acceleration.json"
OF_COMPUTER = Path("/run/slap")  # gone when the computer is started anew; only root writes there
# A guest of a dozen instructions takes a tenth of a second, by emulation too. One that hangs or crawls keeps a processor
# busy, and is told by that, for where there is much else to do, time passes for all.
_SPINS = 1  # seconds of a processor
_PATIENCE, _PATIENCE_OF_FORMAT = 4.0, 20.0
_HOLDS = 600.0  # seconds
# It writes 16 to the port by which it ends qemu, which makes of that 16 * 2 + 1.
_ENDED = 33
_TOO_LATE = 124  # of the runner
# cli; mov dx, 0x501; mov al, 16; out dx, al; hlt
_CODE = bytes.fromhex("fa ba 01 05 b0 10 ee f4")
_DISK = _CODE.ljust(510, b"\0") + b"\x55\xaa" + bytes((1 << 20) - 512)


class KvmVerdict(Frozen):
    """Whether KVM works here, and why not; the other fields say how long that holds."""

    kvm: bool
    words: str = ""
    boot: str = ""
    qemu: float = 0.0
    spins: int = 0  # seconds of a processor that the guest was given
    until: float | None = None  # by the monotonic clock, which is one for all processes from start to start


@dataclass(frozen=True)
class Prober:
    """Probes once and stores the result; `shared` is a folder that all partitions of a node read."""

    runner: Runner
    own: Path
    shared: Path | None = None
    device: Path = KVM_DEVICE
    clock: Clock = field(default_factory=SystemClock)
    patience: float = _PATIENCE

    def has_kvm(self, wanted: Acceleration) -> bool:
        """Whether to use KVM; raises CommandFailed when it is required and does not work."""
        if wanted == "emulation":
            return False
        verdict = self.verdict()
        if wanted == "kvm" and not verdict.kvm:
            raise CommandFailed(
                "This computer cannot accelerate machines.",
                verdict.words,
                "Order the machine with acceleration auto, or on a computer with the capability kvm.",
            )
        return verdict.kvm

    def verdict(self) -> KvmVerdict:
        if not os.access(self.device, os.R_OK | os.W_OK):
            return KvmVerdict(kvm=False, words=f"Its user may not open {self.device}, or there is none.")
        for path in (self.shared, self.own):
            if path is not None and (kept := _kept(path)) and not self._is_over(kept):
                return kept
        return self.find_out()

    def find_out(self) -> KvmVerdict:
        """Probe and store the result, even if there is one."""
        found = probe(self.runner, self.own.parent, self.patience)
        if not (found.kvm or found.words == _HANG):
            found = found.model_copy(update={"until": self.clock.monotonic() + _HOLDS})
        files.write(self._place(), found.model_dump_json(), 0o644)
        return found

    def _is_over(self, verdict: KvmVerdict) -> bool:
        return verdict.until is not None and verdict.until < self.clock.monotonic()

    def _place(self) -> Path:
        """The file of the result: the shared one where this user may write it, else its own."""
        shared = self.shared
        return shared if shared is not None and os.access(shared.parent, os.W_OK) else self.own


def settle(
    runner: Runner, folder: Path, clock: Clock, device: Path = KVM_DEVICE, computers: Path = OF_COMPUTER
) -> None:
    """Store the verdict for all partitions of a node; probe again, longer, while it is not certain.

    What root is sure of is in a folder of the computer's, too, for its other nodes.
    """
    if not (Path(EMULATOR).exists() and os.access(device, os.R_OK | os.W_OK)) or _is_sure(folder / VERDICT):
        return
    if _is_sure(computers / VERDICT):
        files.write(folder / VERDICT, (computers / VERDICT).read_bytes(), 0o644)
        return
    found = Prober(runner, folder / VERDICT, None, device, clock, _PATIENCE_OF_FORMAT).find_out()
    if found.until is None and os.access(computers.parent, os.W_OK):
        files.make_folder(computers, 0o755)
        files.write(computers / VERDICT, found.model_dump_json(), 0o644)


def _is_sure(path: Path) -> bool:
    kept = _kept(path)
    return kept is not None and kept.until is None


def is_proven(folder: Path) -> bool:
    """Whether a guest was seen to run by KVM."""
    kept = _kept(folder / VERDICT)
    return kept is not None and kept.kvm


def probe(runner: Runner, scratch: Path, patience: float = _PATIENCE) -> KvmVerdict:
    """Boot the smallest guest by KVM."""
    disk = scratch / "probe.img"
    files.write(disk, _DISK, 0o600)
    argv = (
        "prlimit", f"--cpu={_SPINS}:{2 * _SPINS}", "--core=0", "--",
        EMULATOR, "-accel", "kvm", "-machine", "q35", "-cpu", "host", "-m", "64", "-display", "none", "-nodefaults",
        "-drive", f"file={disk},format=raw,if=none,id=disk", "-device", "ide-hd,drive=disk,bootindex=0", "-net", "none",
        "-device", "isa-debug-exit,iobase=0x501,iosize=1",
    )  # fmt: skip
    try:
        done = runner.run(Command(argv, env={"PATH": environment.CLEAN_PATH}, timeout=patience, longest=1 << 16))
    finally:
        disk.unlink(missing_ok=True)
    return KvmVerdict(kvm=done.status == _ENDED, words=_words(done, patience), boot=_boot(), qemu=_qemu(), spins=_SPINS)


_HANG = "Guests hang on it, or are slower than by emulation."


def _words(done: Completed, patience: float) -> str:
    if done.status == -signal.SIGXCPU:
        return _HANG
    if done.status == _TOO_LATE:
        return f"A guest did not end within {patience:g} s. It is tried again in some minutes."
    said = done.stderr.strip().splitlines()
    return "" if done.status == _ENDED else f"Guests do not start by it: {said[-1] if said else ''}"


def _kept(path: Path) -> KvmVerdict | None:
    try:
        kept = KvmVerdict.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
    return kept if (kept.boot, kept.qemu, kept.spins) == (_boot(), _qemu(), _SPINS) else None


def _boot() -> str:
    return files.read_or(Path("/proc/sys/kernel/random/boot_id"), "").strip()


def _qemu() -> float:
    path = Path(EMULATOR)
    return path.stat().st_mtime if path.exists() else 0.0
