"""The `slapos` command: options that all commands share, and how a run ends.

This module is on the way of every command, `slapos --version` included: it loads neither pydantic, requests nor rich.
"""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from cliff.app import App

from slap.cli.commands import CommandTable, overview, unknown_command
from slap.system.clock import Clock, SystemClock
from slap.system.trust.terminal import LogFormatter, SafeStream, escape_controls

if TYPE_CHECKING:
    from slap.system.transport import Transport

USAGE = 2
LEVELS = (logging.ERROR, logging.WARNING, logging.INFO, logging.DEBUG)


@dataclass(frozen=True)
class World:
    """What commands touch of the outside, so that a test can give them another one; None is the real network."""

    transport: "Transport | None" = None
    clock: Clock = field(default_factory=SystemClock)
    folder: Path | None = None  # the current one when it is None
    home: Path | None = None  # the user's when it is None


class SlapApp(App):
    """cliff's application with our table of commands, and with errors left to the commands and to `main`."""

    NAME = "slapos"

    def __init__(self, world: World) -> None:
        self.world = world
        super().__init__("", None, CommandTable("slapos"), deferred_help=True)
        self.stdout = SafeStream(sys.stdout)

    def build_option_parser(self, *_: object, **__: object) -> argparse.ArgumentParser:
        parser = argparse.ArgumentParser("slapos", add_help=False, allow_abbrev=False)
        parser.add_argument("--version", action="store_true")
        parser.add_argument("-v", "--verbose", action="count", dest="verbose_level", default=1)
        parser.add_argument("-q", "--quiet", action="store_const", dest="verbose_level", const=0)
        parser.add_argument("--log-file", "--logfile", "--log_file")
        parser.add_argument("--log-time", action="store_true")
        parser.add_argument("--log-color", action="store_true")
        parser.add_argument("--debug", action="store_true")
        parser.add_argument("-h", "--help", action="store_true", dest="deferred_help")
        return parser

    def configure_logging(self) -> None:
        """What modules log is for whoever asked for it by -v; commands that run for long set up their own logs."""
        level = LEVELS[min(self.options.verbose_level, len(LEVELS) - 1)]
        when = "%(asctime)s " if self.options.log_time else ""
        colours = self.options.log_color and not self.options.log_file
        words = "\x1b[1m%(levelname)s\x1b[0m %(name)s" if colours else "%(levelname)s %(name)s"
        path = self.options.log_file
        handler = logging.FileHandler(path) if path else logging.StreamHandler()
        handler.setFormatter(LogFormatter(f"{when}{words}: %(message)s"))
        logging.basicConfig(level=level, handlers=[handler])

    def print_help_if_requested(self) -> None:
        """Without a command, `interact` follows and prints the overview."""

    def interact(self) -> None:
        self.stdout.write(f"slapos {version('slap')}\n" if self.options.version else overview())

    def run_subcommand(self, argv: list[str]) -> int:
        words = ["node", "status"] if argv == ["node"] else argv  # as SlapOS has it
        try:
            kind, name, rest = self.command_manager.find_command(words)
        except ValueError:
            self.stderr.write(unknown_command([word for word in argv if not word.startswith("-")]) + "\n")
            return USAGE
        command = kind(self, self.options, cmd_name=name)
        return int(command.run(command.get_parser(f"slapos {name}").parse_args(rest)))


def main(argv: Sequence[str] | None = None, world: World | None = None) -> int:
    """Run one command; the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if "--debug" not in arguments:
        sys.excepthook = report_defect
    try:
        return _run(SlapApp(world or World()), arguments)
    except SystemExit as end:  # of argparse, after a usage error or a help text
        return end.code if isinstance(end.code, int) else 0
    finally:
        _flush()


def report_defect(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> Any:
    """An exception that nobody expected is a defect of ours: one line for the user, the traceback on demand."""
    what = escape_controls(f"slapos: unexpected {kind.__name__}: {error}")
    print(f"{what}\nTo see where, run it again with --debug.", file=sys.stderr)


def _run(app: SlapApp, arguments: list[str]) -> int:
    status = app.run(arguments)
    return 0 if app.interactive_mode else status


def _flush() -> None:
    """Whoever read our output may be gone (`slapos service list | head -1`): that is no error of anybody's."""
    with suppress(ValueError):
        try:
            sys.stdout.flush()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
