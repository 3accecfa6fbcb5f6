"""`slapos node register` and `slapos node format`: making a computer known, and preparing its partitions."""

import argparse
import socket
import sys
from pathlib import Path

from slap.cli.base import ClientCommand, read_small_file
from slap.cli.local import NodeCommand
from slap.cli.node.logs import log_to_files
from slap.cli.node.undo import undo_format
from slap.cli.output import Style, say
from slap.model.computer import Partition
from slap.model.errors import Unreachable, UsageError
from slap.node.core.config import NodeConfig, read
from slap.node.core.formatted import FORMATTED
from slap.node.format.definition import definition_text, wanted_partitions
from slap.node.format.plan import check_rights, execute, finish, observe, plan, restore_network, try_machines
from slap.node.identity.register import Registration, enrol, register
from slap.node.node import computer_master
from slap.node.partition.supervision import connect, ensure_running
from slap.system import environment, files
from slap.system.clock import SystemClock
from slap.system.network.netlink import KernelNetwork, Network
from slap.system.process import SystemRunner
from slap.system.supervisor import News

SYSTEM_CFG = Path("/etc/opt/slapos/slapos.cfg")


class NodeRegister(ClientCommand):
    """Register this computer at a master.

    With a one-time token (slapos computer token) the node makes a key, which stays here, and gets a certificate for it;
    without one, whoever is configured as a client registers it. Writes slapos.cfg, and what the computer is known by. As
    root the node gets the system's layout (/opt/slapgrid, /srv/slapgrid) and a Unix user for each partition; without root
    rights, or with --root, it lives in one folder.
    """

    def get_parser(self, name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(name)
        parser.add_argument("title", nargs="?", default=socket.gethostname(), metavar="NAME", help="(the host's name)")
        parser.add_argument("--root", metavar="FOLDER", help="where the node lives (/ as root, ~/slapos otherwise)")
        parser.add_argument("--partition-number", type=int, default=10, metavar="N", help="partitions (10)")
        parser.add_argument("--ipv6-prefix", default="", metavar="NETWORK", help="public addresses of partitions")
        parser.add_argument("--label", action="append", default=[], metavar="NAME=VALUE", help="what orders filter on")
        parser.add_argument("--replace", action="store_true", help="take over the name of a computer that was lost")
        parser.add_argument("--master-url", metavar="URL", help="the master (that of the client configuration)")
        parser.add_argument("--token-file", metavar="FILE", help="a one-time token; - is stdin")
        parser.add_argument("--token", help="the same in sight of all users of this machine: better use --token-file")
        parser.add_argument("--ca-file", metavar="FILE", help="authority of the master, where no token tells it")
        parser.add_argument(
            "--interface-name", default="", metavar="NAME", help="gets the addresses of partitions (lo)"
        )
        parser.add_argument("--ipv4-local-network", default="", metavar="NETWORK", help="addresses of partitions")
        parser.add_argument("--software-root", metavar="FOLDER", help="where releases are")
        parser.add_argument("--instance-root", metavar="FOLDER", help="where partitions are")
        parser.add_argument("-n", "--dry-run", action="store_true", help="only say what would be done")
        parser.add_argument("--master-url-web", metavar="URL", help="accepted for SlapOS")
        parser.add_argument("-t", "--create-tap", action="store_true", help="an interface for each partition")
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
            interface_name=args.interface_name,
            ipv4_local_network=args.ipv4_local_network,
            software_root=(self.folder / args.software_root).resolve() if args.software_root else None,
            instance_root=(self.folder / args.instance_root).resolve() if args.instance_root else None,
            authority=(self.folder / args.ca_file).resolve() if args.ca_file else None,
            create_tap=args.create_tap,
        )
        self._remark(args)
        if args.dry_run:
            self.app.stdout.write(f"register {args.title}\nwrite {cfg}\n")
            return
        token = self._token(args)
        if token:
            config = enrol(args.master_url or self.configuration(args).master_url, token, cfg, wish)
        else:
            config = register(self.configuration(args).master_url, self.master(args), cfg, wish)
        say(f"This computer is {config.computer_id}, configured in {cfg}.", Style.GOOD)
        say(f"Next: slapos node format --cfg {cfg}", Style.BOLD)

    def _remark(self, args: argparse.Namespace) -> None:
        if args.master_url_web:
            say("--master-url-web changes nothing here: certificates are made by the master itself, at --master-url.")

    def _token(self, args: argparse.Namespace) -> str:
        if args.token_file:
            return read_small_file(args.token_file, sys.stdin.read, self.folder).strip()
        return str(args.token or "").strip()


class NodeFormat(NodeCommand):
    """Prepare the partitions of this computer: users, folders, addresses, interfaces; then tell the master of them.

    Only what is missing is made, and nothing is taken away. With --undo what this command made goes again, and nothing else,
    unless a partition holds an instance or anything else is in use.
    """

    def get_parser(self, name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(name)
        add = parser.add_argument
        add("-n", "--dry-run", "--dry_run", action="store_true", help="only print what would be done")
        add("--undo", action="store_true", help="take away what format made (with -n: only print that)")
        add(
            "-t",
            "--create-tap",
            "--create_tap",
            action="store_true",
            help="an interface for each partition, for machines",
        )
        add("--now", action="store_true", help="at once, as always")
        add("--alter_user", "--alter-user", choices=("True", "False"), help="make Unix users (see slapos.cfg)")
        add("--alter_network", "--alter-network", choices=("True", "False"), help="add addresses (see slapos.cfg)")
        add("-i", "--input_definition_file", metavar="FILE", help="partitions as written down there")
        add("-o", "--output_definition_file", metavar="FILE", help="write the partitions down there")
        add("--computer_json", metavar="FILE", help="write what the master is told there, as JSON")
        add("-x", "--computer_xml", metavar="FILE", help="partitions as SlapOS's node left them there")
        add("-c", "--console", help="accepted for SlapOS")
        return parser

    def take_action(self, args: argparse.Namespace) -> None:
        config = altered(read(self.cfg(args)), args)
        if args.undo:
            self._undo(config, args)
        else:
            self._format(config, args)

    def _undo(self, config: NodeConfig, args: argparse.Namespace) -> None:
        try:
            undo_format(config, self.app.stdout, dry_run=args.dry_run)
        except Unreachable as error:
            raise FormattedOffline("It is gone, but the master does not know it yet.", str(error), _AGAIN) from error

    def _format(self, config: NodeConfig, args: argparse.Namespace) -> None:
        network = KernelNetwork()
        partitions = self._partitions(config, args)
        actions = plan(config, partitions, observe(config, network))
        for action in actions:
            self.app.stdout.write(f"{action}\n")
        if args.dry_run:
            say(f"{len(actions)} actions, none of them done.")
            return
        check_rights(config)
        config.make_folders()
        log_to_files(config)
        execute(config, actions, SystemRunner(), network)
        try_machines(config, SystemRunner(), self.clock)
        self._tell(config, partitions, args)
        say(f"{len(partitions)} partitions are ready, {len(actions)} actions were needed.", Style.GOOD)

    def _partitions(self, config: NodeConfig, args: argparse.Namespace) -> tuple[Partition, ...]:
        if args.console:
            say(f"--console changes nothing here: what was made is in {config.root / FORMATTED}.")
        named = {name: getattr(args, name) for name in ("input_definition_file", "computer_xml")}
        here = {name: str(self.folder / file) for name, file in named.items() if file}
        return wanted_partitions(config.format.model_copy(update=here))

    def _tell(self, config: NodeConfig, partitions: tuple[Partition, ...], args: argparse.Namespace) -> None:
        """Files first: the master may be away."""
        configuration = finish(config, partitions)
        if args.computer_json:
            files.write(self.folder / args.computer_json, configuration.model_dump_json(indent=1) + "\n")
        if args.output_definition_file:
            files.write(self.folder / args.output_definition_file, definition_text(partitions, config.format))
        try:
            computer_master(config).configure_computer(config.computer_id, configuration)
        except Unreachable as error:
            raise FormattedOffline("Formatted, but the master does not know it yet.", str(error), _AGAIN) from error


class NodeBoot(NodeCommand):
    """Bring everything up after the machine started: addresses, supervisord, all partitions that shall be started."""

    def get_parser(self, name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(name)
        parser.add_argument("-m", "--message", help="also have all partitions processed again, and say why")
        return parser

    def take_action(self, args: argparse.Namespace) -> None:
        config = self.config(args)
        config.make_folders()
        restore_network(config, SystemRunner(), KernelNetwork())
        started = ensure_running(config, connect(config, News()))
        say("supervisord was started." if started else "supervisord runs already.", Style.GOOD)
        if args.message:
            computer_master(config).bang_computer(config.computer_id, args.message)


class FormattedOffline(Unreachable):
    """All was made, but the master could not be told: SlapOS's status for that."""

    exit_code = 2


def altered(config: NodeConfig, args: argparse.Namespace) -> NodeConfig:
    """The configuration with what the command line says differently."""
    given = {name: getattr(args, name) for name in ("alter_user", "alter_network")}
    update = {name: value == "True" for name, value in given.items() if value}
    update |= {"create_tap": True} if args.create_tap else {}
    return config.model_copy(update={"format": config.format.model_copy(update=update)})


_AGAIN = "Type `slapos node format` again when the master is there."


def tell_master(config: NodeConfig) -> None:
    """Write the format down, and have the master know it."""
    configuration = finish(config, wanted_partitions(config.format))
    computer_master(config).configure_computer(config.computer_id, configuration)


def format_node(config: NodeConfig, network: Network) -> int:
    """Format without asking; how many actions were needed."""
    actions = plan(config, wanted_partitions(config.format), observe(config, network))
    config.make_folders()
    execute(config, actions, SystemRunner(), network)
    try_machines(config, SystemRunner(), SystemClock())
    tell_master(config)
    return len(actions)


def _pair(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not (name and separator):
        raise UsageError(f"{text!r} is not a label.", resolution="Write --label NAME=VALUE.")
    return name, value
