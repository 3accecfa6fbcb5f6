"""`slapos configure client`: which master to talk to, and with which token."""

import argparse
import sys
from pathlib import Path

from slap.cli.base import Command, read_small_file
from slap.cli.output import Style, say
from slap.client.config import HOME_FILE, write_configuration
from slap.client.connect import connect
from slap.client.credentials import Credentials
from slap.model.errors import Unreachable, UsageError


class ConfigureClient(Command):
    """Say which master to talk to, and with which token.

    The token is read from a file or from standard input, never from the command line, which others can see. The
    configuration goes to ~/.slapos/slapos-client.cfg, where it is found without being named; elsewhere with --cfg.
    """

    def get_parser(self, name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(name)
        parser.add_argument("url", metavar="URL", help="the master, for instance http://127.0.0.1:5000")
        parser.add_argument("--token-file", default="-", metavar="FILE", help="the token; - is stdin (default)")
        parser.add_argument("--cfg", metavar="FILE", help="write this file instead")
        return parser

    def take_action(self, args: argparse.Namespace) -> None:
        if not args.url.startswith(("http://", "https://")):
            raise UsageError(f"{args.url!r} is not the URL of a master.", "It should begin with http:// or https://.")
        path = self.folder / args.cfg if args.cfg else Path.home() / HOME_FILE
        token = read_small_file(args.token_file, _type_token, self.folder).strip()
        if not token:
            raise UsageError("The token is empty.", resolution="slapos master user NAME, on the master, makes one")
        self._try(args.url, token)
        write_configuration(path, args.url, token)
        say(f"{path} is written. Try: slapos service list", Style.GOOD)

    def _try(self, url: str, token: str) -> None:
        """A wrong token is refused now; a master that is away may come back."""
        try:
            connect(url, Credentials(token), self.app.world.transport).instances()
        except Unreachable as error:
            say(f"Not tried: {error.brief} {error.details}")


def _type_token() -> str:
    if sys.stdin.isatty():
        say("Type or paste the token, then Enter:")
        return sys.stdin.readline()
    return sys.stdin.read()
