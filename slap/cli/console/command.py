"""`slapos console`: a Python shell or a script that talks to the master."""

import argparse
from pathlib import Path
from typing import Any

from slap.cli.base import ClientCommand
from slap.cli.console.objects import Products, Slap, software_list
from slap.cli.console.shell import interact, run_script
from slap.client.connect import connect
from slap.client.credentials import Credentials
from slap.client.master import Master
from slap.model.errors import NotFound, NotReady, SlapError, Unreachable, UsageError


class Console(ClientCommand):
    """Open a Python shell that talks to the master, or run a script that does.

    Both find `slap`, `request`, `supply`, `getInformation` and `product` with the methods that scripts for SlapOS use,
    `client`, which has all that can be asked of the master, and `software_list`.
    """

    def get_parser(self, name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(name)
        parser.add_argument("-u", "--master_url", metavar="URL", help="talk to this master instead")
        parser.add_argument("-k", "--key_file", metavar="FILE", help="with this key")
        parser.add_argument("-c", "--cert_file", metavar="FILE", help="with this certificate")
        shell = parser.add_mutually_exclusive_group()
        for letter, word in (("-i", "ipython"), ("-b", "bpython"), ("-p", "python")):
            shell.add_argument(
                letter, f"--{word}", dest="shell", action="store_const", const=word, help=f"{word}'s shell"
            )
        shell.add_argument(
            "script", metavar="SCRIPT", nargs="*", default=[], help="a script to run, with its arguments"
        )
        return parser

    def take_action(self, args: argparse.Namespace) -> int:
        names = namespace(self._master_of(args), self.folder)
        if args.script:
            return run_script(self.folder / args.script[0], args.script, names)
        interact(args.shell or "ipython", names)
        return 0

    def _master_of(self, args: argparse.Namespace) -> Master:
        if not (args.master_url or args.key_file or args.cert_file):
            return self.master(args)
        if bool(args.key_file) != bool(args.cert_file):
            raise UsageError("A certificate needs its key.", resolution="Give both --cert_file and --key_file.")
        pair = Credentials(certificate=_path(args.cert_file), key=_path(args.key_file))
        url = args.master_url or self.configuration(args).master_url
        return connect(url, pair, self.app.world.transport)


def namespace(master: Master, folder: Path) -> dict[str, Any]:
    """What a script or a shell finds."""
    slap = Slap(master, folder)
    order = slap.registerOpenOrder()
    return {
        "__name__": "__main__",
        "slap": slap,
        "request": order.request,
        "getInformation": order.getInformation,
        "supply": slap.registerSupply().supply,
        "product": Products(master),
        "software_list": lambda: software_list(master),
        "client": master,
        "NotFoundError": NotFound,
        "ResourceNotReady": NotReady,
        "ServerError": Unreachable,
        "SlapError": SlapError,
    }


def _path(text: str | None) -> Path | None:
    return Path(text).expanduser() if text else None
