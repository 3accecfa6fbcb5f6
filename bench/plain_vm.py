"""The other side of bench/vm, as a program: the same machines by a few lines of qemu-img and qemu for each."""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from vm_crew import EMULATOR, MEMORY, Address, serve, wait_for_greetings

from slap.model.vm.seed import Seed
from slap.node.vm.start import make_seed
from tests.system.machines import make_key
from tests.system.tiny import tiny_image

_SSH = 10022


class Machines:
    """What is started here ends here."""

    def __init__(self, folder: Path, count: int) -> None:
        self._folder = folder
        self._count = count
        self._image = tiny_image()
        self._key = make_key(folder).with_suffix(".pub").read_text().strip()
        self._running: list[subprocess.Popen[bytes]] = []

    def start(self) -> dict[str, float]:
        """All at once, as a loop in a shell would."""
        began = time.monotonic()
        for number in range(1, self._count + 1):
            self._running.append(self._start(number))
        addresses: list[Address] = [(_address(number), _SSH) for number in range(1, self._count + 1)]
        return {"answered": wait_for_greetings(addresses, self._count) - began}

    def end(self) -> None:
        for each in self._running:
            each.kill()
            each.wait()
        self._running.clear()

    def _start(self, number: int) -> "subprocess.Popen[bytes]":
        name, address = f"vm-{number}", _address(number)
        disk, seed = self._folder / f"{name}.qcow2", self._folder / f"{name}.iso"
        disk.unlink(missing_ok=True)
        argv = ("qemu-img", "create", "-q", "-f", "qcow2", "-b", str(self._image), "-F", "qcow2", str(disk))
        subprocess.run(argv, check=True)
        make_seed(Seed(identity=name, hostname=name, ssh_keys=(self._key,)), seed)
        ports = f"hostfwd=tcp:{address}:{_SSH}-:22,hostfwd=tcp:{address}:10080-:80"
        return subprocess.Popen(
            [EMULATOR, "-machine", "q35,usb=off", "-accel", "tcg,tb-size=32", "-m", str(MEMORY), "-nodefaults",
             "-drive", f"file={disk},if=virtio,discard=unmap",
             "-drive", f"file={seed},if=virtio,format=raw,readonly=on",
             "-netdev", f"user,id=n,ipv6=off,restrict=on,{ports}", "-device", "virtio-net-pci,netdev=n,romfile=",
             "-serial", f"unix:{self._folder}/{name}.console,server=on,wait=off",
             "-vnc", f"unix:{self._folder}/{name}.vnc", "-device", "VGA,vgamem_mb=16",
             "-object", "rng-random,id=r,filename=/dev/urandom", "-device", "virtio-rng-pci,rng=r"],
            stdin=subprocess.DEVNULL,
        )  # fmt: skip


def _address(number: int) -> str:
    return f"127.77.0.{number}"


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="slap-", dir="/tmp") as folder:
        machines = Machines(Path(folder), int(sys.argv[2]))
        try:
            serve(machines.start, machines.end)
        finally:
            machines.end()


if __name__ == "__main__":
    main()
