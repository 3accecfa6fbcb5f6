"""What managers work with."""

from dataclasses import dataclass

from slap.node.core.config import NodeConfig
from slap.node.partition.hooks import Manager
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


class Hooks(Manager):
    """A manager with its tools."""

    def __init__(self, tools: Tools) -> None:
        self.tools = tools
