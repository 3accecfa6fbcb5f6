"""The output formats of `-f`: cliff's own for machines, ours for people and for shells."""

import argparse
import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from shutil import get_terminal_size
from typing import Any, TextIO

from cliff.columns import FormattableColumn
from cliff.formatters.base import ListFormatter, SingleFormatter
from cliff.formatters.commaseparated import CSVLister
from cliff.formatters.json_format import JSONFormatter
from cliff.formatters.value import ValueFormatter
from cliff.formatters.yaml_format import YAMLFormatter
from rich.cells import cell_len, set_cell_size

from slap.cli.output import Style, columns, harmless, paint

GAP = "  "
NARROWEST = 8


class Cell(FormattableColumn):
    """A value with the words and the style by which people read it; machines get the value itself."""

    def __init__(self, value: Any, text: str | None = None, style: Style = Style.PLAIN) -> None:
        super().__init__(value)
        self.text = str(value) if text is None else text
        self.style = style

    def human_readable(self) -> str:
        return self.text


class Table(ListFormatter, SingleFormatter):
    """Plain columns, cut to the width of the terminal; what goes into a pipe or a file is never cut."""

    def add_argument_group(self, parser: argparse.ArgumentParser) -> None:
        """Needs no options."""

    def emit_list(self, names: Sequence[str], data: Iterable[Sequence[Any]], stdout: TextIO, _: object) -> None:
        rows = [[_cell(value) for value in row] for row in data]
        if not rows:
            return
        heading = [Cell(name.upper(), style=Style.BOLD) for name in names]
        limit = get_terminal_size().columns if stdout.isatty() else None
        widths = fit([_width(column) for column in zip(heading, *rows, strict=True)], limit)
        for row in (heading, *rows):
            stdout.writelines(f"{line}\n" for line in _lines(row, widths, stdout))

    def emit_one(self, names: Sequence[str], data: Sequence[Any], stdout: TextIO, _: object) -> None:
        """Values are never cut: they are what gets copied."""
        if names:
            rows = [(name, _cell(value).text) for name, value in zip(names, data, strict=True)]
            stdout.write(columns(rows, indent=0) + "\n")


class Shell(SingleFormatter):
    """Assignments for `eval`: quoted, because the values come from a service and must not run in the user's shell."""

    def add_argument_group(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--prefix", default="", help="with -f shell: put this before the names of variables")

    def emit_one(self, names: Sequence[str], data: Sequence[Any], stdout: TextIO, args: argparse.Namespace) -> None:
        for name, value in zip(names, data, strict=True):
            variable = re.sub(r"\W", "_", args.prefix + name, flags=re.ASCII)
            stdout.write(f"{variable}={shlex.quote(_cell(value).text)}\n")


@dataclass(frozen=True)
class Plugin:
    """A formatter in the wrapping that cliff expects."""

    name: str
    obj: Any


class Formats:
    """Named formatters, in place of cliff's scan for plugins."""

    def __init__(self, **formatters: Any) -> None:
        self._plugins = {name: Plugin(name, formatter) for name, formatter in formatters.items()}

    def names(self) -> list[str]:
        return list(self._plugins)

    def __getitem__(self, name: str) -> Plugin:
        return self._plugins[name]

    def __iter__(self) -> Iterator[Plugin]:
        return iter(self._plugins.values())


def list_formats() -> Formats:
    return Formats(table=Table(), json=JSONFormatter(), yaml=YAMLFormatter(), value=ValueFormatter(), csv=CSVLister())


def show_formats() -> Formats:
    return Formats(table=Table(), json=JSONFormatter(), yaml=YAMLFormatter(), value=ValueFormatter(), shell=Shell())


def fit(widths: Sequence[int], limit: int | None) -> list[int]:
    """Column widths that fit into `limit`, taken from the widest columns first; None is no limit."""
    fitted = list(widths)
    if limit is None:
        return fitted
    excess = sum(fitted) + len(GAP) * (len(fitted) - 1) - limit
    for _ in range(excess):
        widest = max(range(len(fitted)), key=lambda number: fitted[number])
        if fitted[widest] <= NARROWEST:
            break
        fitted[widest] -= 1
    return fitted


def _cell(value: Any) -> Cell:
    cell = value if isinstance(value, Cell) else Cell(value, "" if value is None else None)
    cell.text = harmless(cell.text)
    return cell


def _width(column: Iterable[Cell]) -> int:
    return max(cell_len(line) for cell in column for line in cell.text.splitlines() or [""])


def _lines(row: Sequence[Cell], widths: Sequence[int], stdout: TextIO) -> Iterator[str]:
    """A row as lines, as many as its highest cell has."""
    texts = [cell.text.splitlines() or [""] for cell in row]
    for number in range(max(map(len, texts))):
        pieces = [
            paint(_cut(text[number] if number < len(text) else "", width), cell.style, stdout)
            for cell, text, width in zip(row, texts, widths, strict=True)
        ]
        yield GAP.join(pieces).rstrip()


def _cut(text: str, width: int) -> str:
    return set_cell_size(text, width) if cell_len(text) <= width else set_cell_size(text, width - 1) + "…"
