"""Machines as a test orders them: a tiny image, a key, and what its guests and its processes say."""

import json
import os
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slap.system.processes import Mark, find_marked
from tests.system.cloud import PROJECT, Cloud, Result, eventually

KVM = PROJECT / "software/kvm/software.cfg"
# A connection of a moment without a firewall is none of those that it lets through when it is back: it has to be noticed.
_NOTICE = ("ServerAliveInterval=5", "ServerAliveCountMax=4")
_OPTIONS = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR", "ConnectTimeout=5", *_NOTICE)


@dataclass(frozen=True)
class Guests:
    """Machines of a cloud, and the key that opens them."""

    cloud: Cloud
    key: Path

    def order(self, reference: str, *more: str, check: bool = True, **parameters: Any) -> Result:
        """Order or change one: the parameters are those of the release, with _ for -."""
        ordered = {name.replace("_", "-"): value for name, value in parameters.items()}
        ordered = {"image": "tiny", "ram": "96 MiB", "ssh-keys": [self.public_key], "stop-timeout": 10, **ordered}
        ordered = {name: value for name, value in ordered.items() if value is not None}
        words = (
            "request",
            reference,
            str(KVM),
            "--parameters",
            json.dumps(ordered),
            *(more if "--timeout" in more else (*more, "--timeout", "180")),
        )
        return self.cloud.slapos(*words, check=check, timeout=200)

    @property
    def public_key(self) -> str:
        return self.key.with_suffix(".pub").read_text().strip()

    def connection(self, reference: str) -> dict[str, Any]:
        found = self.cloud.slapos("service", "info", reference, "-f", "json").json["connection"]
        assert isinstance(found, dict)
        return found

    def ssh(self, reference: str, command: str, within: Sequence[str] = ()) -> str:
        """What a command says on a guest, logged in to as its connection says."""
        return self.run(self.connection(reference)["ssh-command"], command, within)

    def run(self, ssh_command: str, command: str, within: Sequence[str] = ()) -> str:
        words = ssh_command.split()
        options = [word for option in _OPTIONS for word in ("-o", option)]
        argv = [*within, words[0], "-i", str(self.key), *options, *words[1:], command]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


def attempts(places: Mapping[str, tuple[str, int]]) -> str:
    """A command for the guest of a tiny image that says which of the places it can connect to, and `asked` at the end.

    All are tried at once; one that answers and goes on answering is reached, too.
    """
    tries = [
        f"(timeout 5 nc -w 3 {host} {port} </dev/null >/dev/null 2>&1;"
        f" case $? in 0|124|143) echo {shlex.quote(name)};; esac) &"
        for name, (host, port) in places.items()
    ]
    return f"{' '.join(tries)} wait; echo asked"


def make_key(folder: Path) -> Path:
    path = folder / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    return path


def qemu_of(cloud: Cloud, partition: str) -> int:
    """The process of a partition's machine; 0 when there is none."""
    return next((pid for pid in processes_of(cloud, partition) if "qemu-system" in program_of(pid)), 0)


def processes_of(cloud: Cloud, partition: str) -> list[int]:
    return find_marked(Mark("SLAPOS_PARTITION", str(cloud.srv / partition)))


def program_of(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/exe")
    except OSError:
        return ""


def partition_of(cloud: Cloud, reference: str) -> str:
    found = eventually(lambda: cloud.master().instances(reference))
    return found[0].partition
