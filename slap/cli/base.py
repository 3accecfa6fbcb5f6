"""What all commands share: options, the master to talk to, output formats, and how errors are shown."""

import argparse
import difflib
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from cliff import command, help, lister, show  # noqa: A004 (cliff's name)

from slap.cli.commands import list_commands, list_topic, overview
from slap.cli.formats import Formats, list_formats, show_formats
from slap.cli.output import say, show_error
from slap.client.config import ClientConfiguration, Surroundings, find_configuration, here
from slap.client.connect import connect
from slap.client.master import Master
from slap.model.errors import InvalidInput, SlapError, UsageError
from slap.system.clock import Clock

Word = TypeVar("Word", bound=StrEnum)

_CHECK = "Check the path, whose it is, and the free space of its disk."


class Command(command.Command):
    """A command of ours: cliff's without plugins, and with our errors.

    `unfinished` is for a command that has data to show although it did not get where it should: the data is printed,
    then the error, and the error decides the exit status.
    """

    unfinished: SlapError | None = None

    def _load_hooks(self) -> None:
        self._hooks: list[object] = []

    def get_epilog(self) -> str:
        return self._epilog or ""

    def run(self, args: argparse.Namespace) -> int:
        try:
            status = super().run(args)
            if self.unfinished:
                raise self.unfinished
            return int(status)
        except SlapError as error:
            return self._failed(error)
        except OSError as error:
            if isinstance(error, BrokenPipeError):
                raise
            return self._failed(SlapError(f"{error.filename or 'The system'}: {error.strerror or error}.", "", _CHECK))

    @property
    def clock(self) -> Clock:
        clock: Clock = self.app.world.clock
        return clock

    @property
    def folder(self) -> Path:
        """Where relative paths start."""
        return self.app.world.folder or Path.cwd()

    @property
    def home(self) -> Path:
        """Where the user's own configuration lies."""
        return self.app.world.home or Path.home()

    @property
    def around(self) -> Surroundings:
        """What it depends on where configuration is found."""
        return replace(here(self.folder), home=self.home)

    def _failed(self, error: SlapError) -> int:
        if self.app.options.debug:
            traceback.print_exc()
        show_error(error)
        return error.exit_code


class ClientCommand(Command):
    """A command that talks to a master, which is found by --cfg, by the environment, or in the usual places."""

    cfg_help: ClassVar[str] = "client configuration (default: see slapos configure client)"

    def get_parser(self, name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(name)
        parser.add_argument("--cfg", metavar="FILE", help=self.cfg_help)
        return parser

    def configuration(self, args: argparse.Namespace) -> ClientConfiguration:
        return find_configuration(args.cfg or "", self.around)

    def master(self, args: argparse.Namespace) -> Master:
        found = self.configuration(args)
        return connect(found.master_url, found.credentials, self.app.world.transport)


class _Displayed(ClientCommand):
    """A column that does not exist is an error of usage."""

    def _generate_columns_and_selector(self, args: argparse.Namespace, names: Sequence[str]) -> Any:
        try:
            return super()._generate_columns_and_selector(args, names)
        except ValueError as error:
            known = ", ".join(names)
            raise UsageError(f"There is no column {', '.join(args.columns)}.", f"There are: {known}.") from error


class Lister(_Displayed, lister.Lister):
    """A command whose data is a table; `when_empty` is what people are told when there are no rows."""

    when_empty = ""

    def _load_formatter_plugins(self) -> Formats:
        return list_formats()

    def produce_output(self, args: argparse.Namespace, names: Sequence[str], data: Iterable[Any]) -> int:
        rows = list(data)
        if not rows and self.when_empty and args.formatter == "table":
            say(self.when_empty)
            return 0
        return int(super().produce_output(args, names, rows))


class Show(_Displayed, show.ShowOne):
    """A command whose data is one thing with named fields.

    `text` is what people are shown in place of the bare fields, when it is set.
    """

    text = ""

    def _load_formatter_plugins(self) -> Formats:
        return show_formats()

    def produce_output(self, args: argparse.Namespace, names: Sequence[str], data: Sequence[Any]) -> int:
        if self.text and args.formatter == "table" and not args.columns:
            self.app.stdout.write(self.text + "\n")
            return 0
        return int(super().produce_output(args, names, data))

    def fields(self, data: dict[str, Any]) -> tuple[Sequence[str], Iterable[Any]]:
        return tuple(data), tuple(data.values())


class Help(Command, help.HelpCommand):
    """Show the common commands, all commands, those of a topic, or the help of a command."""

    def get_parser(self, name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(name)
        parser.add_argument("--all", action="store_true", help="list all commands")
        return parser

    def take_action(self, args: argparse.Namespace) -> int:
        text = list_topic(" ".join(args.cmd)) if args.cmd else list_commands() if args.all else overview()
        if text:
            self.app.stdout.write(text)
            return 0
        try:
            return int(super().take_action(args))
        except ValueError as error:
            raise UsageError(f"{' '.join(args.cmd)!r} is not a command.", resolution="slapos help") from error


def one_of(words: type[Word]) -> Callable[[str], Word]:
    """An option's type: one of the words of an enum; a misspelt one is answered with the word that was meant."""

    def parse(text: str) -> Word:
        if text in set(words):
            return words(text)
        meant = difflib.get_close_matches(text, list(words), n=1)
        hint = f", did you mean {str(meant[0])!r}?" if meant else ""
        raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(words)}{hint}")

    return parse


def read_small_file(path: str, stdin: Callable[[], str], folder: Path, limit: int = 1 << 20) -> str:
    """The text of a file that somebody named, or of standard input for `-`."""
    try:
        text = stdin() if path == "-" else (folder / path).read_text()
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read.", error.strerror or "", "Check the path.") from error
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path} is not a text file.", "It is not in UTF-8.") from error
    if len(text) > limit:
        raise InvalidInput(f"{path} is too large.", f"It holds more than {limit} characters.")
    return text
