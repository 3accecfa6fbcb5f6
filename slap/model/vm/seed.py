"""What a new machine is told at its first boot: its name, who may log in, what to run."""

import json
from enum import StrEnum
from hashlib import sha256
from typing import Annotated, Any

from pydantic import Field, StringConstraints

from slap.model.base import Frozen

Hostname = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$")]
# A line of authorized_keys without options: the kind, the key, and what people call it.
SshKey = Annotated[
    str,
    StringConstraints(
        pattern=r"^(ssh-|ecdsa-|sk-)[a-z0-9@.-]+ [A-Za-z0-9+/]+=*( [^\x00-\x1f\x7f\"'\\]*)?$",
        max_length=16_384,
        strip_whitespace=True,
    ),
]
UserData = Annotated[str, StringConstraints(max_length=1 << 20)]


class SeedNetwork(StrEnum):
    """How the machine gets its address."""

    DHCP = "dhcp"
    NONE = "none"


class Seed(Frozen):
    """A NoCloud seed, as cloud-init and our own images read it.

    `identity` tells one machine from another: an image that finds another one than at its last boot makes new host keys,
    a new machine-id, and runs `user_data` again. That is a script (`#!`) or cloud-init's `#cloud-config`.
    """

    identity: Annotated[str, Field(min_length=1)]
    hostname: Hostname
    ssh_keys: tuple[SshKey, ...] = ()
    user_data: UserData = ""
    network: SeedNetwork = SeedNetwork.DHCP

    def files(self) -> dict[str, bytes]:
        """The documents by their names. YAML is what readers expect, and JSON is YAML that needs no library to write.

        Nothing is said of a network with DHCP: readers ask it by themselves, and know their interface by its name.
        """
        return {
            "meta-data": _document(self._meta_data()),
            "user-data": (self.user_data or "#cloud-config\n{}\n").encode(),
            "vendor-data": b"#cloud-config\n" + _document(self._vendor_data()),
            **({"network-config": _document(_NO_NETWORK)} if self.network is SeedNetwork.NONE else {}),
        }

    def _meta_data(self) -> dict[str, Any]:
        return {
            "instance-id": sha256(self.identity.encode()).hexdigest()[:32],
            "local-hostname": self.hostname,
            "public-keys": list(self.ssh_keys),
        }

    def _vendor_data(self) -> dict[str, Any]:
        """Where user-data says otherwise, that counts. Keys that were added later are let in with the next boot."""
        add_key = 'grep -qxF "$0" "$1" || echo "$0" >> "$1"'
        return {
            "disable_root": False,
            "ssh_pwauth": False,
            "bootcmd": [
                ["mkdir", "-p", "-m", "700", "/root/.ssh"],
                ["touch", _AUTHORIZED],
                *(["sh", "-c", add_key, key, _AUTHORIZED] for key in self.ssh_keys),
            ],
        }


_AUTHORIZED = "/root/.ssh/authorized_keys"
_NO_NETWORK = {"version": 2, "ethernets": {}}


def _document(content: dict[str, Any]) -> bytes:
    return (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode()
