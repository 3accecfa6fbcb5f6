"""The output formats of `-f`: cliff's own for machines, ours for people and for shells."""

import argparse
import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
from slap.cli.values import in_words

GAP = "  "
NARROWEST = 8
REMARK = "message"  # the last column of some lists: it goes below its row where it would be cut to nothing beside it


class Cell(FormattableColumn):
    """A value with the words and the style by which people read it; machines get the value itself.

    On a terminal that is too narrow for all words, people get the `short` ones.
    """

    def __init__(self, value: Any, text: str | None = None, style: Style = Style.PLAIN, short: str = "") -> None:
        super().__init__(value)
        self.text = str(value) if text is None else text
        self.style = style
        self.short = short or self.text

    def human_readable(self) -> str:
        return self.text


class Table(ListFormatter, SingleFormatter):
    """Plain columns, cut to the width of the terminal; what goes into a pipe or a file is never cut."""

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit  # a width to keep to wherever it goes

    def add_argument_group(self, parser: argparse.ArgumentParser) -> None:
        """Needs no options."""

    def emit_list(self, names: Sequence[str], data: Iterable[Sequence[Any]], stdout: TextIO, _: object) -> None:
        rows = [[_cell(value) for value in row] for row in data]
        if not rows:
            return
        table = [[Cell(name.upper(), style=Style.BOLD) for name in names], *rows]
        limit = self.limit or (get_terminal_size().columns if stdout.isatty() else None)
        if limit and names[-1] == REMARK and _total(_widths(table)) > limit:
            below = ["", *(_below(row[-1], limit) for row in rows)]
            table = [row[:-1] for row in table]
        else:
            below = [""] * len(table)
        if limit and _total(_widths(table)) > limit:
            table = [[_shorter(cell) for cell in row] for row in table]
        widths = fit(_widths(table), limit)
        for row, remark in zip(table, below, strict=True):
            stdout.writelines(f"{line}\n" for line in _lines(row, widths, stdout))
            stdout.write(remark)

    def emit_one(self, names: Sequence[str], data: Sequence[Any], stdout: TextIO, _: object) -> None:
        """Values are never cut: they are what gets copied."""
        if names:
            rows = [(name, _whole(value)) for name, value in zip(names, data, strict=True)]
            stdout.write(columns(rows, indent=0) + "\n")


class Shell(SingleFormatter):
    """Assignments for `eval`: quoted, because the values come from a service and must not run in the user's shell."""

    def add_argument_group(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--prefix", default="", help="with -f shell: put this before the names of variables")

    def emit_one(self, names: Sequence[str], data: Sequence[Any], stdout: TextIO, args: argparse.Namespace) -> None:
        for name, value in zip(names, data, strict=True):
            variable = re.sub(r"\W", "_", args.prefix + name, flags=re.ASCII)
            stdout.write(f"{variable}={shlex.quote(_cell(value).text)}\n")


class AsSlapos(ListFormatter, SingleFormatter):
    """What SlapOS's own command prints, for scripts that read it; `render` makes it of rows with names."""

    def __init__(self, render: Callable[[list[dict[str, Any]]], str]) -> None:
        self._render = render

    def add_argument_group(self, parser: argparse.ArgumentParser) -> None:
        """Needs no options."""

    def emit_list(self, names: Sequence[str], data: Iterable[Sequence[Any]], stdout: TextIO, _: object) -> None:
        rows = [[cell.machine_readable() if isinstance(cell, Cell) else cell for cell in row] for row in data]
        stdout.write(self._render([dict(zip(names, row, strict=True)) for row in rows]) + "\n")

    def emit_one(self, names: Sequence[str], data: Sequence[Any], stdout: TextIO, _: object) -> None:
        stdout.write(self._render([dict(zip(names, data, strict=True))]) + "\n")


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


def list_formats(**more: Any) -> Formats:
    machines = {"json": JSONFormatter(), "yaml": YAMLFormatter(), "value": ValueFormatter(), "csv": CSVLister()}
    return Formats(table=Table(), **machines, **more)


def show_formats(**more: Any) -> Formats:
    machines = {"json": JSONFormatter(), "yaml": YAMLFormatter(), "value": ValueFormatter(), "shell": Shell()}
    return Formats(table=Table(), **machines, **more)


def fit(widths: Sequence[int], limit: int | None) -> list[int]:
    """Column widths that fit into `limit`, taken from the widest columns first; None is no limit."""
    fitted = list(widths)
    if limit is None:
        return fitted
    for _ in range(_total(fitted) - limit):
        widest = max(range(len(fitted)), key=lambda number: fitted[number])
        if fitted[widest] <= NARROWEST:
            break
        fitted[widest] -= 1
    return fitted


def _whole(value: Any) -> str:
    return _cell(Cell(value, in_words(value)) if isinstance(value, Mapping) else value).text


def _cell(value: Any) -> Cell:
    cell = value if isinstance(value, Cell) else Cell(value, "" if value is None else None)
    cell.text, cell.short = harmless(cell.text), harmless(cell.short)
    return cell


def _shorter(cell: Cell) -> Cell:
    return Cell(cell.machine_readable(), cell.short, cell.style)


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + len(GAP) * (len(widths) - 1)


def _widths(rows: Sequence[Sequence[Cell]]) -> list[int]:
    return [_width(column) for column in zip(*rows, strict=True)]


def _below(cell: Cell, limit: int) -> str:
    """A remark as a line of its own; nothing where there is nothing to remark."""
    text = " ".join(cell.text.split())
    return f"  {_cut(text, limit - 2).rstrip()}\n" if text else ""


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
