"""A machine without a guest: qemu with a disk, paused, whose disk is written to by its monitor."""

import json
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slap.model.errors import CommandFailed

MIB = 1 << 20


@dataclass
class Qemu:
    """Speaks QMP with it by itself, as libvirt would."""

    disk: Path
    talk: socket.socket
    process: "subprocess.Popen[bytes]"
    buffer: bytes = b""

    def ask(self, name: str, command: str, arguments: Mapping[str, Any]) -> Any:
        self.talk.sendall(json.dumps({"execute": command, "arguments": dict(arguments)}).encode())
        while True:
            answer = self._read()
            if "error" in answer:
                raise CommandFailed(f"{name}: {command}", answer["error"]["desc"])
            if "return" in answer:
                return answer["return"]

    def write(self, mebibyte: int, value: int) -> None:
        """Fill a mebibyte of the disk."""
        line = f"write -P {value} {mebibyte}M 1M"
        said = self.ask("m", "human-monitor-command", {"command-line": f'qemu-io libvirt-1-format "{line}"'})
        assert not said, said

    def _read(self) -> dict[str, Any]:
        while b"\n" not in self.buffer:
            self.buffer += self.talk.recv(65536)
        line, _, self.buffer = self.buffer.partition(b"\n")
        found: dict[str, Any] = json.loads(line)
        return found


@contextmanager
def running_qemu(disk: Path) -> Iterator[Qemu]:
    """The nodes have the names that libvirt would give them."""
    path = disk.with_suffix(".qmp")
    process = subprocess.Popen(
        [
            "/usr/bin/qemu-system-x86_64", "-S", "-nodefaults", "-display", "none", "-machine", "none",
            "-blockdev", f"driver=file,filename={disk},node-name=libvirt-1-storage",
            "-blockdev", "driver=qcow2,file=libvirt-1-storage,node-name=libvirt-1-format",
            "-qmp", f"unix:{path},server=on,wait=off",
        ],
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        qemu = Qemu(disk, _connected(path), process)
        qemu._read()  # its greeting
        qemu.ask("m", "qmp_capabilities", {})
        yield qemu
    finally:
        process.terminate()
        process.wait()


def _connected(path: Path) -> socket.socket:
    deadline = time.monotonic() + 20
    while True:
        talk = socket.socket(socket.AF_UNIX)
        try:
            talk.connect(str(path))
            return talk
        except (FileNotFoundError, ConnectionRefusedError):
            talk.close()
            assert time.monotonic() < deadline, "qemu did not open its monitor"
            time.sleep(0.02)


def content(disk: Path, mebibyte: int) -> int:
    """The byte that fills a mebibyte of a disk that is not in use."""
    raw = disk.with_suffix(".raw")
    subprocess.run(["qemu-img", "convert", "-O", "raw", str(disk), str(raw)], check=True)
    with raw.open("rb") as file:
        file.seek(mebibyte * MIB)
        found = set(file.read(MIB))
    raw.unlink()
    assert len(found) == 1
    return found.pop()
