"""slapproxy, the master for a single machine: from a folder of its own, or as a slapos.cfg says."""

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from slap.cli.base import Command, Lister, read_small_file
from slap.cli.formats import Cell
from slap.cli.master import configure, port_number
from slap.cli.output import say, short_release, status_style
from slap.client.config import HOME_FILE, SYSTEM_FILE
from slap.client.master import Master
from slap.master.proxy import administrator_token, prepare_proxy, prepare_slapproxy
from slap.master.server import serve
from slap.master.settings import MasterSettings
from slap.master.settings_slapproxy import SECTION, SlapproxyConfig, read_config
from slap.model.instance import Instance
from slap.system import environment

PROXY_FOLDER = Path(".slapos/proxy")
VARIABLE = "SLAPOS_CONFIGURATION"


class ProxyStart(Command):
    """Run the single-machine master, on the loopback address.

    With --cfg FILE, as the section [slapproxy] of that slapos.cfg says; without, the file that SLAPOS_CONFIGURATION
    names, or /etc/opt/slapos/slapos.cfg, when it has that section. Otherwise in a folder: on its first start it makes its
    database there and your token, and configures the client commands to use it.
    """

    def get_parser(self, name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(name)
        parser.add_argument("--cfg", metavar="FILE", help="a slapos.cfg with a section [slapproxy]")
        parser.add_argument("-u", "--database-uri", metavar="FILE", help="the database, whatever the file says")
        parser.add_argument("--host", help="a loopback address (127.0.0.1)")
        parser.add_argument("--port", type=port_number, help="where to listen (5000)")
        parser.add_argument("--folder", metavar="FOLDER", help="database and token (~/.slapos/proxy)")
        parser.add_argument(
            "--client-cfg", metavar="FILE", help="client configuration to write (~/.slapos/slapos-client.cfg)"
        )
        parser.add_argument("--local-software-release-root", help=argparse.SUPPRESS)  # releases are never moved here
        return parser

    def take_action(self, args: argparse.Namespace) -> None:
        config = None if args.folder else self._slapproxy(args)
        settings = self._as_configured(config) if config else self._in_folder(args)
        where = settings.database_url.removeprefix("sqlite:///")
        say(f"The master listens on {_url(settings)} and keeps its data in {where}. Ctrl-C ends it.")
        serve(settings)

    def _slapproxy(self, args: argparse.Namespace) -> SlapproxyConfig | None:
        """What the slapos.cfg says that is named, or found and meant for slapproxy."""
        path = _configuration(args.cfg, self.folder)
        if path is None:
            return None
        config = read_config(read_small_file(str(path), str, self.folder), path)
        given = {"host": args.host, "port": args.port}
        given["database"] = self.folder / args.database_uri if args.database_uri else None
        return config.model_copy(update={name: value for name, value in given.items() if value})

    def _as_configured(self, config: SlapproxyConfig) -> MasterSettings:
        settings, copy = prepare_slapproxy(config)
        if copy:
            say(f"The database of a SlapOS slapproxy was taken over; a copy of it is kept as {copy}.")
        return settings

    def _in_folder(self, args: argparse.Namespace) -> MasterSettings:
        folder = self.folder / args.folder if args.folder else Path.home() / PROXY_FOLDER
        settings = prepare_proxy(folder, args.port or 5000, args.host or "127.0.0.1")
        client = self.folder / args.client_cfg if args.client_cfg else Path.home() / HOME_FILE
        configure(client, _url(settings), administrator_token(folder))
        return settings


class ProxyShow(Lister):
    """List all partitions with what is in them.

    The options of SlapOS choose what to list, one or several: --computers, --software, --slaves, --params, --network.
    """

    when_empty = "There is nothing yet. Each computer makes its own partitions: slapos node format"

    def get_parser(self, name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(name)
        parser.add_argument("-u", "--database-uri", help=argparse.SUPPRESS)  # the master is asked, not its database
        for option, words in _VIEWS.items():
            parser.add_argument(f"--{option}", dest="views", action="append_const", const=option, help=words)
        return parser

    def run(self, args: argparse.Namespace) -> int:
        """Of several views one after the other."""
        views = args.views or ["partitions"]
        for args.view in views:
            if len(views) > 1 and args.formatter == "table":
                self.app.stdout.write(f"{args.view.upper()}\n")
            if status := super().run(args):
                return status
        return 0

    def take_action(self, args: argparse.Namespace) -> tuple[Sequence[str], Iterable[Any]]:
        return _TABLES[args.view](self.master(args))


def _configuration(named: str | None, folder: Path) -> Path | None:
    """The slapos.cfg to go by; one that nobody named counts only with a section for slapproxy in it."""
    if named:
        return folder / Path(named).expanduser()
    found = Path(environment.variable(VARIABLE) or SYSTEM_FILE).expanduser()
    is_meant = found.exists() and f"[{SECTION}]" in found.read_text(errors="replace")
    return found if is_meant else None


def _url(settings: MasterSettings) -> str:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http://{host}:{settings.port}"


Rows = tuple[Sequence[str], Iterable[Any]]


def _partitions(master: Master) -> Rows:
    instances = _instances(master)
    rows = [
        (computer, use.partition.name, use.reference or "-", *_about(instances.get(use.instance)))
        for computer, use in _uses(master)
    ]
    return ("computer", "partition", "service", "status", "type", "release"), rows


def _computers(master: Master) -> Rows:
    rows = [(each.guid, each.title, each.free_partitions, each.seen_at or "never") for each in master.computers()]
    return ("computer", "title", "free", "last seen"), rows


def _software(master: Master) -> Rows:
    rows = [(each.computer, each.url, each.requested.value, each.reported.value or "-") for each in master.supplies()]
    return ("computer", "release", "requested", "reported"), rows


def _shared(master: Master) -> Rows:
    rows = [
        (each.reference, each.computer, each.partition, *_about(each))
        for each in _instances(master).values()
        if each.shared
    ]
    return ("service", "computer", "served by", "status", "type", "release"), rows


def _params(master: Master) -> Rows:
    rows = [
        (each.reference, each.partition, name, str(value))
        for each in _instances(master).values()
        for name, value in each.connection.items()
    ]
    return ("service", "partition", "parameter", "value"), rows


def _network(master: Master) -> Rows:
    rows = [
        (computer, use.partition.name, use.partition.tap or "-", ", ".join((*use.partition.ipv4, *use.partition.ipv6)))
        for computer, use in _uses(master)
    ]
    return ("computer", "partition", "tap", "addresses"), rows


_VIEWS = {
    "computers": "list computers",
    "software": "list supplied software releases",
    "partitions": "list partitions (default)",
    "slaves": "list shared instances",
    "params": "list what services published",
    "network": "list the addresses of partitions",
}
_TABLES = {
    "computers": _computers,
    "software": _software,
    "partitions": _partitions,
    "slaves": _shared,
    "params": _params,
    "network": _network,
}


def _uses(master: Master) -> Iterable[tuple[str, Any]]:
    for computer in master.computers():
        for use in master.computer(computer.guid).partitions:
            yield computer.guid, use


def _instances(master: Master) -> dict[str, Instance]:
    """All instances of all trees, by guid."""
    trees = [master.tree(root.guid) for root in master.instances()]
    return {each.guid: each for tree in trees for each in tree.instances}


def _about(instance: Instance | None) -> tuple[Any, ...]:
    if instance is None:
        return "-", "-", "-"
    status = Cell(instance.status.value, style=status_style(instance.status))
    return status, instance.software_type, Cell(instance.software_release, short_release(instance.software_release))
