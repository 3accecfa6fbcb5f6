"""`slapos configure client`: which master to talk to, and with which token or certificate."""

import argparse
import getpass
import sys
from pathlib import Path

from slap.cli.base import Command, read_small_file
from slap.cli.configure.account import fetch_certificate, write_certificate
from slap.cli.output import Style, say
from slap.client.config import HOME_FILE, VARIABLE, file_in_force, write_configuration
from slap.client.connect import connect
from slap.client.credentials import Credentials
from slap.model.errors import Unreachable, UsageError


class ConfigureClient(Command):
    """Say which master to talk to, and with which token.

    The token is read from a file or from standard input, never from the command line, which others can see. The
    configuration goes to ~/.slapos/slapos-client.cfg, where it is found without being named; elsewhere with --cfg.

    With --master-url-web the token is exchanged there for a client certificate, as SlapOS's masters do it.
    """

    def get_parser(self, name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(name)
        master = parser.add_mutually_exclusive_group(required=True)
        master.add_argument("url", metavar="URL", nargs="?", help="the master, for instance http://127.0.0.1:5000")
        master.add_argument("--master-url", metavar="URL", help="the same, as SlapOS writes it")
        parser.add_argument("--master-url-web", metavar="URL", help="where to get a certificate for the token")
        secret = parser.add_mutually_exclusive_group()
        secret.add_argument("--token-file", default="-", metavar="FILE", help="the token; - is stdin (default)")
        secret.add_argument("--token", metavar="-", help="only -, which is stdin: words of commands are no secrets")
        parser.add_argument("--ca-file", metavar="FILE", help="the authority by which the master is recognised")
        parser.add_argument("--cfg", metavar="FILE", help="write this file instead")
        return parser

    def take_action(self, args: argparse.Namespace) -> None:
        url = master_url(args.url or args.master_url)
        path = self.folder / args.cfg if args.cfg else self.home / HOME_FILE
        refuse_secret_word(args.token)
        token = read_small_file(args.token_file, type_token, self.folder).strip()
        if not token:
            raise UsageError("The token is empty.", resolution="slapos master user NAME, on the master, makes one")
        authority = (self.folder / args.ca_file).resolve() if args.ca_file else None
        if args.master_url_web:
            web = self.app.world.transport or Credentials(authority=authority).transport()
            pair = fetch_certificate(web, master_url(args.master_url_web), token)
            self._try(url, write_certificate(path, url, pair, authority))
        else:
            self._try(url, Credentials(token, authority=authority))
            write_configuration(path, url, token, authority)
        say(f"{path} is written. Try: slapos service list", Style.GOOD)
        self._say_what_is_in_force(path)

    def _try(self, url: str, credentials: Credentials) -> None:
        """A wrong token is refused now; a master that is away may come back."""
        try:
            connect(url, credentials, self.app.world.transport).instances()
        except Unreachable as error:
            say(f"Not tried: {error.brief} {error.details}")

    def _say_what_is_in_force(self, path: Path) -> None:
        nearer = file_in_force("", self.around)
        if nearer is None or not path.exists() or not nearer.exists() or not nearer.samefile(path):
            say(shadowed(path, nearer), Style.BOLD)


def shadowed(path: Path, nearer: Path | None) -> str:
    """What to say of a configuration that commands typed here do not use by themselves."""
    use = f"To use this one: slapos COMMAND --cfg {path}, or {VARIABLE}={path}"
    return f"In this folder {nearer} goes before it. {use}" if nearer else use


def master_url(text: str) -> str:
    if not text.startswith(("http://", "https://")):
        raise UsageError(f"{text!r} is not the URL of a master.", "It should begin with http:// or https://.")
    return text


def refuse_secret_word(token: str | None) -> None:
    """`--token SECRET` is understood, and refused: it is in the history of the shell and in the list of processes."""
    if token not in (None, "-"):
        raise UsageError(
            "A token does not belong on the command line.",
            "Other users of this machine could read it. It may have been read now: have it replaced.",
            "leave --token away and type the token when asked for it, or put it into a file for --token-file",
        )


def type_token() -> str:
    if not sys.stdin.isatty():
        return sys.stdin.read()
    return getpass.getpass("Type or paste the token (it is not shown), then Enter: ")
