"""`slapos node format --undo`: what format made goes again."""

from typing import TextIO

from slap.cli.output import Style, say
from slap.model.computer import ComputerConfiguration
from slap.model.errors import Conflict
from slap.node.core.config import NodeConfig
from slap.node.format.undo import UndoContext, check_undo, execute_undo, undo_plan
from slap.node.manager.firewall_context import table_of
from slap.node.node import computer_master
from slap.system import files
from slap.system.network.netlink import KernelNetwork
from slap.system.process import SystemRunner


def undo_format(config: NodeConfig, output: TextIO, *, dry_run: bool) -> None:
    """Print what goes; unless that is all that is asked for, take it away and tell the master. Raises Unreachable last."""
    network = KernelNetwork()
    plan = undo_plan(config, network)
    for each in plan:
        output.write(f"remove {each}\n")
    check_undo(config, plan, network)
    if dry_run:
        say(f"{len(plan)} actions, none of them done.")
        return
    config.make_folders()
    with files.exclusive(config.run / "agent.lock", wait=False) as alone:
        if not alone:
            raise Conflict("The node's agent runs.", "It would use what is taken away.", "End it, then try again.")
        execute_undo(plan, UndoContext(config, SystemRunner(), network, table_of(config)))
    say(f"{len(plan)} things that format had made are gone.", Style.GOOD)
    empty = ComputerConfiguration(partitions=(), labels=config.labels, network=config.format.network)
    computer_master(config).configure_computer(config.computer_id, empty)
