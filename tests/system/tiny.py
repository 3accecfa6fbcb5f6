"""The image tiny for tests, built once for all of them, and machines that are started from it by qemu alone."""

import fcntl
import hashlib
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from slap.node.core.config import NodeConfig, default_root, write
from tests.system import typed
from tests.system.cloud import PROJECT, Result, eventually, short_folder
from tests.system.kept import kept
from tests.system.slapos_peer import free_port

_DAY = 86_400.0
# What the image depends on, but for Debian's packages.
_SOURCES = ("slap/node/image", "slap/system/disk")
_KINDS = {".py", ".sh", ".cfg"}


@dataclass(frozen=True)
class ImageNode:
    """A node's folder with its configuration, where commands about images are typed; nothing runs in it."""

    folder: Path

    @property
    def cfg(self) -> Path:
        return self.folder / "etc/slapos.cfg"

    @property
    def config(self) -> NodeConfig:
        return NodeConfig(**default_root(self.folder), computer_id=self.folder.name)

    def configure(self, **networkcache: str) -> None:
        section = {name.replace("_", "-"): value for name, value in networkcache.items()}
        write(self.cfg, self.config.model_copy(update={"networkcache": section}))

    def slapos(self, *words: str, check: bool = True) -> Result:
        done = typed.run((*words, "--cfg", str(self.cfg)), self.env(), self.folder, 300)
        assert not check or done.returncode == 0, done
        assert "Traceback" not in done.stderr
        return Result(done.returncode, done.stdout, done.stderr)

    def argv(self, *words: str) -> list[str]:
        return [str(typed.SLAPOS), *words, "--cfg", str(self.cfg)]

    def env(self) -> dict[str, str]:
        return {"PATH": "/usr/bin:/bin", "HOME": str(self.folder)}


@contextmanager
def image_node() -> Iterator[ImageNode]:
    with short_folder() as folder:
        node = ImageNode(folder)
        node.configure()
        yield node


def tiny_image() -> Path:
    """The image, by the command that builds it; one that was built of these very sources today is taken again."""
    sources = [path for name in _SOURCES for path in sorted((PROJECT / name).rglob("*")) if path.suffix in _KINDS]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]
    folder = kept()
    image = folder / f"tiny-{digest}.qcow2"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not image.exists() or _is_old(image):
            for former in folder.glob("tiny-*.qcow2"):
                if _is_old(former):  # others may be in use by the tests of other sources
                    former.unlink()
            with image_node() as node:
                node.slapos("image", "build", "tiny", "--output", str(image))
            image.chmod(0o444)
    return image


def _is_old(image: Path) -> bool:
    return time.time() - image.stat().st_mtime > _DAY


@dataclass
class Machine:
    """A machine of 96 MiB on a disk and a seed, without libvirt and without hardware acceleration."""

    disk: Path
    seed: Path
    key: Path
    ssh_port: int = field(default_factory=free_port)
    web_port: int = field(default_factory=free_port)
    process: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        ports = f"hostfwd=tcp:127.0.0.1:{self.ssh_port}-:22,hostfwd=tcp:127.0.0.1:{self.web_port}-:80"
        self.process = subprocess.Popen(
            ["qemu-system-x86_64", "-accel", "tcg,tb-size=32", "-m", "96", "-nodefaults", "-display", "none",
             "-serial", f"file:{self.disk}.log", "-monitor", f"unix:{self.disk}.monitor,server=on,wait=off",
             "-drive", f"file={self.disk},if=virtio", "-drive", f"file={self.seed},if=virtio,format=raw,readonly=on",
             "-netdev", f"user,id=n,restrict=on,{ports}", "-device", "virtio-net-pci,netdev=n,romfile="]
        )  # fmt: skip

    def until_ssh_answers(self) -> None:
        eventually(self._is_up, 90, 0.05)

    def ssh(self, command: str) -> str:
        argv = (
            "ssh", "-p", str(self.ssh_port), "-i", str(self.key), "-o", "StrictHostKeyChecking=no",
            "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "root@127.0.0.1", command,
        )  # fmt: skip
        return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60).stdout.strip()

    def press_power(self) -> None:
        """As if on the button; returns when the machine is off."""
        with socket.socket(socket.AF_UNIX) as monitor:
            monitor.connect(f"{self.disk}.monitor")
            monitor.sendall(b"system_powerdown\n")
            assert self.process
            assert self.process.wait(60) == 0

    def end(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()

    def _is_up(self) -> bool:
        assert self.process
        assert self.process.poll() is None
        try:
            with socket.create_connection(("127.0.0.1", self.ssh_port), 1) as channel:
                channel.settimeout(3)
                return channel.recv(4) == b"SSH-"
        except OSError:
            return False
