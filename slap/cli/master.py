"""The master for many machines, and what its users are known by."""

import argparse
from configparser import ConfigParser
from configparser import Error as SyntaxMistake
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from slap.cli.base import Command, read_small_file
from slap.cli.computer import hand_over, with_token_file
from slap.cli.output import say
from slap.client.config import read_configuration, write_configuration
from slap.master.database.engine import database_url
from slap.master.server import serve
from slap.master.service.accounts import create_user, user_certificate
from slap.master.settings import LogLevel, MasterSettings, TlsMode
from slap.model.errors import InvalidInput, SlapError, UsageError
from slap.system import files

SECTION = "master"
_GIVEN = ("database_url", "host", "port", "workers", "log_level", "release_folders")


class MasterStart(Command):
    """Run a master for many machines.

    Settings come from the section [master] of a configuration file and from the options, which win. A database URL with a
    password belongs into the file, which only its owner should read; so do tls and all that belongs to it.
    """

    def get_parser(self, name: str) -> argparse.ArgumentParser:
        parser = with_database(super().get_parser(name))
        parser.add_argument("--host", help="where to listen (127.0.0.1)")
        parser.add_argument("--port", type=port_number, help="where to listen (5000)")
        parser.add_argument("--workers", type=int, help="processes; more than one needs PostgreSQL (1)")
        parser.add_argument(
            "--release-folder", dest="release_folders", action="append", metavar="FOLDER",
            help="users may supply releases below it by their paths; may be repeated (none)",
        )  # fmt: skip
        parser.add_argument("--log-level", choices=list(LogLevel), help="how much to log (info)")
        return parser

    def take_action(self, args: argparse.Namespace) -> None:
        settings = settings_of(args, self.folder)
        protocol = "http" if settings.tls is TlsMode.OFF else "https"
        say(f"The master listens on port {settings.port} of {settings.host}, over {protocol}. Ctrl-C ends it.")
        serve(settings)


class MasterUser(Command):
    """Make a token for a user of a master, or a certificate with its key.

    A user is known by having one; a second one works beside the first. Run it where the master's database is.
    """

    def get_parser(self, name: str) -> argparse.ArgumentParser:
        parser = with_token_file(with_database(super().get_parser(name)))
        parser.add_argument("name", metavar="NAME", help="the user")
        parser.add_argument(
            "--certificate", metavar="FILE", help="write a key and a certificate there, and make no token"
        )
        return parser

    def take_action(self, args: argparse.Namespace) -> None:
        settings = settings_of(args, self.folder)
        if args.certificate:
            pair = user_certificate(settings.database_url, args.name, settings.access.lifetime)
            files.write(self.folder / args.certificate, pair, 0o600)
            say(f"{args.certificate} has both, for nobody but you to read: cert_file and key_file of a client.")
            return
        token = create_user(settings.database_url, args.name)
        hand_over(token, args.token_file and self.folder / args.token_file)


def configure(path: Path, url: str, token: str) -> None:
    """Have the client commands use a master; a configuration for another master is left alone."""
    known_url, known_token = _known(path)
    if (known_url, known_token) == (url, token):
        return
    if known_url and known_token != token:
        say(f"{path} stays as it is: it is for the master at {known_url}.")
        return
    write_configuration(path, url, token)
    say(f"{path} is written, with your token beside it: slapos service list uses this master.")


def settings_of(args: argparse.Namespace, folder: Path) -> MasterSettings:
    """Settings from the configuration file, overridden by options."""
    if args.database_url:
        _refuse_password(args.database_url)
    given = {name: getattr(args, name, None) for name in _GIVEN}
    from_file = _section(args.cfg, folder) if args.cfg else {}
    try:
        return MasterSettings.model_validate(from_file | {name: value for name, value in given.items() if value})
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        raise InvalidInput(
            "The master's settings are incomplete or wrong.", wrong, "slapos master start --help"
        ) from error


def _section(path: str, folder: Path) -> dict[str, Any]:
    parser = ConfigParser(interpolation=None)
    try:
        parser.read_string(read_small_file(path, str, folder), path)
    except SyntaxMistake as error:
        raise InvalidInput(f"{path} cannot be understood.", str(error), "Mend the file.") from error
    return dict(parser[SECTION]) if parser.has_section(SECTION) else {}


def _known(path: Path) -> tuple[str, str]:
    """The master and the token that a configuration file names; empty for one that does not exist."""
    if not path.exists():
        return "", ""
    try:
        found = read_configuration(path)
    except SlapError as error:
        return f"({error.brief})", ""
    return found.master_url, found.token


def with_database(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("--cfg", metavar="FILE", help="configuration with a section [master]")
    return with_database_alone(parser)


def with_database_alone(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """For a command whose --cfg is there already."""
    parser.add_argument("--database", dest="database_url", metavar="URL", help="sqlite:///FILE or postgresql://...")
    return parser


def _refuse_password(url: str) -> None:
    """The words of a command line are visible to all users of a machine."""
    if database_url(url).password:
        raise UsageError(
            "A password does not belong on the command line.",
            "Other users of this machine could read it.",
            "put database_url into the section [master] of a file and name it with --cfg",
        )


def port_number(text: str) -> int:
    if not (text.isdecimal() and 0 < int(text) < 65536):
        raise argparse.ArgumentTypeError(f"{text!r} is not a port: it is a number from 1 to 65535")
    return int(text)
