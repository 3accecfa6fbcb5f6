"""Making a computer known to a master: its identity, its token, its configuration file."""

from hashlib import sha256
from pathlib import Path

from slap.client.master import Master
from slap.model.base import Frozen
from slap.model.computer import ComputerRegistration
from slap.node.config import FormatConfig, NodeConfig, default_root, write
from slap.system import files


class Registration(Frozen):
    """What to register, and where this node is to live; with `system`, Unix users and the layout under /."""

    title: str
    root: Path
    partition_amount: int = 10
    system: bool = False
    replace: bool = False
    labels: dict[str, str] = {}
    ipv6_prefix: str = ""


def register(master_url: str, master: Master, cfg: Path, wish: Registration) -> NodeConfig:
    """Register at the master, then write slapos.cfg and the token, which nobody else may read."""
    unnamed = make_config(master_url, wish)
    unnamed.make_folders()  # first, for where that fails, the master shall not have a computer that nobody is
    answer = master.register_computer(ComputerRegistration(title=wish.title, replace=wish.replace))
    config = unnamed.model_copy(update={"computer_id": answer.guid})
    files.write(config.token_file, answer.token + "\n", 0o600)
    write(cfg, config)
    return config


def make_config(master_url: str, wish: Registration) -> NodeConfig:
    """The configuration of a new node, but for the name that its master gives it."""
    return NodeConfig(
        master_url=master_url,
        **default_root(wish.root),
        labels=wish.labels,
        format=FormatConfig(
            partition_amount=wish.partition_amount,
            alter_user=wish.system,
            alter_network=wish.system,
            ipv4_local_network="10.77.0.0/16" if wish.system else loopback_network(wish.root),
            ipv6_prefix=wish.ipv6_prefix,
        ),
    )


def loopback_network(root: Path) -> str:
    """A part of 127.0.0.0/8 for a node without rights of its own: two nodes on one machine hardly ever share it."""
    return f"127.{64 + sha256(str(root).encode()).digest()[0] % 128}.0.0/16"
