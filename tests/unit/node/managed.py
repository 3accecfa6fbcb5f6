"""A partition, and what its managers work with."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slap.model.computer import Partition
from slap.node.core.accounts import Account
from slap.node.core.config import NodeConfig
from slap.node.manager.base import Tools
from slap.node.partition.folder import PartitionFolder
from slap.system.clock import FakeClock
from slap.system.process import FakeRunner
from slap.system.supervisor import FakeSupervisor
from tests.unit.node.things import PART, a_config


@dataclass
class Room:
    """One partition of a node, and everything that a manager could touch, remembered."""

    root: Path
    settings: dict[str, Any] = field(default_factory=dict)
    account: Account = field(default_factory=Account)

    def __post_init__(self) -> None:
        self.config: NodeConfig = a_config(self.root, **self.settings)
        self.supervisor = FakeSupervisor()
        self.runner = FakeRunner()
        self.clock = FakeClock()
        self.tools = Tools(self.config, self.supervisor, self.runner, self.clock)
        partition = Partition(name=PART, ipv4=("127.77.0.2",), ipv6=("2001:db8::2",))
        self.folder = PartitionFolder(self.config, partition, self.account)
        self.folder.path.mkdir(parents=True)

    def write(self, name: str, text: str) -> Path:
        path = self.folder.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def group(self, suffix: str) -> str:
        """What supervisord's file of a manager's group says."""
        path = self.config.supervisor_folder / f"{PART}{suffix}.conf"
        return path.read_text() if path.exists() else ""
