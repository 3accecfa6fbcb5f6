"""`slapos configure local`: configuration for a master and a node, both on this machine."""

import argparse
from pathlib import Path

from slap.cli.base import Command
from slap.cli.output import Style, say
from slap.client.config import HOME_FILE, VARIABLE
from slap.model.errors import Conflict
from slap.node.core.config import NodeConfig, default_root, write
from slap.node.identity.register import Registration, make_config
from slap.system import environment, files

COMPUTER = "local_computer"  # the name that SlapOS gives the only computer of such a machine
SYSTEM_FOLDER = Path("/etc/opt/slapos")


class ConfigureLocal(Command):
    """Write the configuration of a master and of a node on this machine, and say how to start them.

    As root they get the system's layout; without root rights, or with --root, everything lies in one folder.
    """

    def get_parser(self, name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(name)
        parser.add_argument(
            "--root", metavar="FOLDER", help="everything in this folder (/ as root, ~/slapos otherwise)"
        )
        parser.add_argument("--cfg", metavar="FILE", help="write the node's slapos.cfg there")
        parser.add_argument("--partition-number", type=int, default=20, metavar="N", help="partitions (20)")
        parser.add_argument("--interface-name", metavar="NAME", default="lo", help="what gets the addresses (lo)")
        parser.add_argument("--ipv4-local-network", metavar="NETWORK", help="addresses of partitions")
        parser.add_argument("--daemon-listen-ip", default="127.0.0.1", metavar="IP", help="of the master (127.0.0.1)")
        parser.add_argument("--daemon-listen-port", type=int, default=8080, metavar="PORT", help="of the master (8080)")
        _add_folders(parser)
        return parser

    def take_action(self, args: argparse.Namespace) -> None:
        root = self._root(args.root)
        folder = self._configuration_folder(args.slapos_configuration_directory, root)
        cfg = self.folder / args.cfg if args.cfg else folder / "slapos.cfg"
        _refuse_to_replace(cfg)
        config = local_config(args, root)
        proxy = folder / "slapos-proxy.cfg"
        files.make_folder(folder, 0o755)
        files.write(proxy, proxy_text(args, config))
        write(cfg, config)
        say(f"{cfg} and {proxy} are written.", Style.GOOD)
        say(self._configure_client(config.master_url, cfg))
        if args.enable_shacache_proxy:
            say("This master serves no cache: --enable-shacache-proxy changed nothing.", Style.BAD)
        say(f"Next, each in a terminal of its own or as a service of the system:\n{next_commands(cfg, proxy)}")

    def _configure_client(self, master_url: str, cfg: Path) -> str:
        """Have this user's commands talk to the new master, unless they talk to one already."""
        client = self.home / HOME_FILE
        if client.exists():
            return f"{client} stays as it is. To use the new master: slapos COMMAND --cfg {cfg}, or {VARIABLE}={cfg}"
        files.make_folder(client.parent, 0o700)
        files.write(client, f"[slapos]\nmaster_url = {master_url}\n")
        return f"{client} is written: your commands use the new master."

    def _root(self, named: str | None) -> Path:
        if named or not environment.is_root():
            return (self.folder / (named or self.home / "slapos")).resolve()
        return Path("/")

    def _configuration_folder(self, named: str | None, root: Path) -> Path:
        return self.folder / named if named else SYSTEM_FOLDER if root == Path("/") else root / "etc"


def local_config(args: argparse.Namespace, root: Path) -> NodeConfig:
    """The node's configuration: what the options say, and what a registration would make of the rest."""
    master_url = f"http://{args.daemon_listen_ip}:{args.daemon_listen_port}"
    wish = Registration(title=COMPUTER, root=root, partition_amount=args.partition_number, system=root == Path("/"))
    config = make_config(master_url, wish)
    network = args.ipv4_local_network or config.format.ipv4_local_network
    form = config.format.model_copy(update={"interface_name": args.interface_name, "ipv4_local_network": network})
    places = {
        "root": args.slapos_buildout_directory,
        "instance_root": args.slapos_instance_root,
        "software_root": args.slapos_software_root,
    }
    folders = default_root(root) | {name: Path(path).resolve() for name, path in places.items() if path}
    return config.model_copy(update={"computer_id": COMPUTER, "format": form, **folders})


def proxy_text(args: argparse.Namespace, config: NodeConfig) -> str:
    """The master's configuration, in SlapOS's words."""
    return (
        f"[slapos]\nmaster_url = {config.master_url}\ncomputer_id = {config.computer_id}\n\n[slapproxy]\n"
        f"host = {args.daemon_listen_ip}\nport = {args.daemon_listen_port}\n"
        f"database_uri = {config.root / 'slapproxy.db'}\n"
    )


def next_commands(cfg: Path, proxy: Path) -> str:
    return "\n".join(
        f"  slapos {words}"
        for words in (
            f"proxy start --cfg {proxy}",
            f"node format --now --cfg {cfg}",
            f"node agent --cfg {cfg}",
        )
    )


def _add_folders(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--slapos-instance-root", metavar="FOLDER", help="partitions (/srv/slapgrid, or in --root)")
    parser.add_argument("--slapos-software-root", metavar="FOLDER", help="releases (/opt/slapgrid, or in --root)")
    parser.add_argument("--slapos-buildout-directory", metavar="FOLDER", help="the rest (/opt/slapos, or --root)")
    parser.add_argument("--slapos-configuration-directory", metavar="FOLDER", help="(/etc/opt/slapos, or in --root)")
    parser.add_argument("--enable-shacache-proxy", action="store_true", help="understood; this master serves no cache")


def _refuse_to_replace(cfg: Path) -> None:
    if cfg.exists():
        raise Conflict(
            f"{cfg} exists already.",
            "It may be that of a node that runs.",
            "Remove it first, or choose another --root.",
        )
