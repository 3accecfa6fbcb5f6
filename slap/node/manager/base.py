"""What a manager is: hooks in the life of a partition, all of which may be called again after a crash."""

from dataclasses import dataclass

from slap.node.core.config import NodeConfig
from slap.node.partition.folder import PartitionFolder
from slap.node.partition.hooks import Farewell
from slap.system.clock import Clock
from slap.system.process import Runner
from slap.system.supervisor import Supervisor


@dataclass(frozen=True)
class Tools:
    """What managers work with."""

    config: NodeConfig
    supervisor: Supervisor
    runner: Runner
    clock: Clock


class Hooks:
    """A manager that does nothing; others say what they do instead."""

    wish = ""

    def __init__(self, tools: Tools) -> None:
        self.tools = tools

    def prepared(self, folder: PartitionFolder) -> None:
        return None

    def configured(self, folder: PartitionFolder) -> None:
        return None

    def stopped(self, folder: PartitionFolder) -> None:
        return None

    def leaving(self, folder: PartitionFolder) -> Farewell:
        return Farewell()

    def is_leaving(self, folder: PartitionFolder) -> bool:
        return False

    def emptied(self, folder: PartitionFolder) -> None:
        return None

    def guards(self) -> bool:
        return False
