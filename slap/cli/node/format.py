"""`slapos node register` and `slapos node format`: making a computer known, and preparing its partitions."""

import argparse
import socket
from pathlib import Path

from slap.cli.base import ClientCommand
from slap.cli.local import NodeCommand
from slap.cli.output import Style, say
from slap.model.errors import UsageError
from slap.node.config import NodeConfig, read
from slap.node.format import check_rights, execute, finish, observe, partitions_of, plan, restore_addresses
from slap.node.node import computer_master
from slap.node.partition.supervision import connect, ensure_running
from slap.node.register import Registration, register
from slap.system import environment
from slap.system.netlink import KernelNetwork, Network
from slap.system.process import SystemRunner
from slap.system.supervisor import News

SYSTEM_CFG = Path("/etc/opt/slapos/slapos.cfg")


class NodeRegister(ClientCommand):
    """Register this computer at a master.

    Writes slapos.cfg and the computer's token. As root the node gets the system's layout (/opt/slapgrid, /srv/slapgrid)
    and a Unix user for each partition; without root rights, or with --root, it lives in one folder.
    """

    def get_parser(self, name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(name)
        parser.add_argument("title", nargs="?", default=socket.gethostname(), metavar="NAME", help="(the host's name)")
        parser.add_argument("--root", metavar="FOLDER", help="where the node lives (/ as root, ~/slapos otherwise)")
        parser.add_argument("--partition-number", type=int, default=10, metavar="N", help="partitions (10)")
        parser.add_argument("--ipv6-prefix", default="", metavar="NETWORK", help="public addresses of partitions")
        parser.add_argument("--label", action="append", default=[], metavar="NAME=VALUE", help="what orders filter on")
        parser.add_argument("--replace", action="store_true", help="take over the name of a computer that was lost")
        return parser

    def take_action(self, args: argparse.Namespace) -> None:
        system = environment.is_root() and not args.root
        root = Path("/") if system else (self.folder / (args.root or Path.home() / "slapos")).resolve()
        cfg = SYSTEM_CFG if system else root / "etc/slapos.cfg"
        wish = Registration(
            title=args.title,
            root=root,
            partition_amount=args.partition_number,
            system=system,
            replace=args.replace,
            labels=dict(_pair(text) for text in args.label),
            ipv6_prefix=args.ipv6_prefix,
        )
        config = register(self.configuration(args).master_url, self.master(args), cfg, wish)
        say(f"This computer is {config.computer_id}, configured in {cfg}.", Style.GOOD)
        say(f"Next: slapos node format --cfg {cfg}", Style.BOLD)


class NodeFormat(NodeCommand):
    """Prepare the partitions of this computer: users, folders, addresses; then tell the master of them.

    Only what is missing is made; nothing is ever taken away.
    """

    def get_parser(self, name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(name)
        parser.add_argument("--dry-run", action="store_true", help="only print what would be done")
        return parser

    def take_action(self, args: argparse.Namespace) -> None:
        config = read(self.cfg(args))
        network = KernelNetwork()
        actions = plan(config, partitions_of(config.format), observe(config, network))
        for action in actions:
            self.app.stdout.write(f"{action}\n")
        if args.dry_run:
            say(f"{len(actions)} actions, none of them done.")
            return
        check_rights(config)
        config.make_folders()
        execute(config, actions, SystemRunner(), network)
        tell_master(config)
        say(f"{config.format.partition_amount} partitions are ready, {len(actions)} actions were needed.", Style.GOOD)


class NodeBoot(NodeCommand):
    """Bring everything up after the machine started: addresses, supervisord, all partitions that shall be started."""

    def take_action(self, args: argparse.Namespace) -> None:
        config = self.config(args)
        config.make_folders()
        restore_addresses(config, SystemRunner(), KernelNetwork())
        started = ensure_running(config, connect(config, News()))
        say("supervisord was started." if started else "supervisord runs already.", Style.GOOD)


def tell_master(config: NodeConfig) -> None:
    """Write the format down, and have the master know it."""
    configuration = finish(config, partitions_of(config.format))
    computer_master(config).configure_computer(config.computer_id, configuration)


def format_node(config: NodeConfig, network: Network) -> int:
    """Format without asking; how many actions were needed."""
    actions = plan(config, partitions_of(config.format), observe(config, network))
    config.make_folders()
    execute(config, actions, SystemRunner(), network)
    tell_master(config)
    return len(actions)


def _pair(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not (name and separator):
        raise UsageError(f"{text!r} is not a label.", resolution="Write --label NAME=VALUE.")
    return name, value
