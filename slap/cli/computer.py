"""Computers: list, info, token."""

import argparse
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from slap.cli.base import ClientCommand, Lister, Show
from slap.cli.formats import Cell
from slap.cli.output import Style, age, columns, harmless, say
from slap.model.computer import Computer
from slap.model.software import Supply
from slap.model.state import ReportedSupplyState
from slap.system import files

# A node asks for its orders by a long poll, several times within this.
STALE = timedelta(minutes=3)


class ComputerList(Lister):
    """List the computers that you can order on."""

    when_empty = "There are no computers yet. Add one: slapos node register, on it; or slapos standalone up, here"

    def take_action(self, args: argparse.Namespace) -> tuple[Sequence[str], Iterable[Any]]:
        now = self.clock.now()
        rows = [_row(computer, now) for computer in self.master(args).computers()]
        return ("computer", "title", "used", "free", "last seen", "network", "labels"), rows


class ComputerInfo(Show):
    """Show a computer: partitions, software, last seen."""

    def get_parser(self, name: str) -> argparse.ArgumentParser:
        return _with_guid(super().get_parser(name))

    def take_action(self, args: argparse.Namespace) -> tuple[Sequence[str], Any]:
        master = self.master(args)
        computer, supplies = master.computer(args.guid), master.supplies(computer=args.guid)
        self.text = "\n\n".join(info_text(computer, supplies, self.clock.now()))
        found = [supply.model_dump(mode="json") for supply in supplies]
        return self.fields({**computer.model_dump(mode="json"), "supplies": found})


class ComputerToken(ClientCommand):
    """Make a new token for a computer.

    The computer's former tokens stop working: give the new one to its node at once.
    """

    def get_parser(self, name: str) -> argparse.ArgumentParser:
        return with_token_file(_with_guid(super().get_parser(name)))

    def take_action(self, args: argparse.Namespace) -> None:
        registered = self.master(args).new_computer_token(args.guid)
        hand_over(registered.token, args.token_file and self.folder / args.token_file)


class ProxyShow(Lister):
    """List all partitions with what is in them."""

    when_empty = "There are no partitions yet. Each computer makes its own: slapos node format"

    def take_action(self, args: argparse.Namespace) -> tuple[Sequence[str], Iterable[Any]]:
        master = self.master(args)
        computers = [master.computer(computer.guid) for computer in master.computers()]
        rows = [
            (computer.guid, use.partition.name, use.reference, ", ".join((*use.partition.ipv4, *use.partition.ipv6)))
            for computer in computers
            for use in computer.partitions
        ]
        return ("computer", "partition", "service", "addresses"), rows


def with_token_file(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("--token-file", metavar="FILE", help="write the token there, for you alone; else to stdout")
    return parser


def hand_over(token: str, path: Path | None) -> None:
    """Give somebody a secret: in a file of theirs alone, or on stdout."""
    if path:
        files.write(path, token + "\n", mode=0o600)
        say(f"The token is in {path}, for nobody but you to read.")
    else:
        print(token)


def is_stale(computer: Computer, now: datetime) -> bool:
    return computer.seen_at is None or now - computer.seen_at > STALE


def seen(computer: Computer, now: datetime) -> str:
    """When a computer was last heard of, with a mark when that is too long ago."""
    if computer.seen_at is None:
        return "never"
    return f"{age(computer.seen_at, now)} ago" + (" (stale)" if is_stale(computer, now) else "")


def info_text(computer: Computer, supplies: Sequence[Supply], now: datetime) -> Iterator[str]:
    """All about a computer, in paragraphs."""
    yield columns(_facts(computer, now), indent=0)
    if computer.partitions:
        rows = ((use.partition.name, _use(use.reference, use.partition.ipv4)) for use in computer.partitions)
        yield "Partitions\n" + columns(rows)
    yield "Software\n" + ("\n".join(map(supply_lines, supplies)) or "  none is supplied")


def supply_lines(supply: Supply) -> str:
    """A supply, with what failed below it."""
    state = supply.reported.value or "not begun"
    wanted = "" if state == supply.requested.value else f" (requested: {supply.requested})"
    why = f"\n      {harmless(supply.message)}" if supply.message else ""
    log = supply.log if supply.reported is ReportedSupplyState.ERROR else ""
    tail = "".join(f"\n      {line}" for line in harmless(log).splitlines()[-10:])
    return f"  {supply.url}\n    {state}{wanted}{why}{tail}"


def _row(computer: Computer, now: datetime) -> Sequence[Any]:
    total = len(computer.configuration.partitions)
    seen_at = computer.seen_at and computer.seen_at.isoformat()
    return (
        computer.guid,
        computer.title,
        total - computer.free_partitions,
        computer.free_partitions,
        Cell(seen_at, seen(computer, now), Style.BAD if is_stale(computer, now) else Style.GOOD),
        computer.configuration.network,
        Cell(computer.configuration.labels, _labels(computer)),
    )


def _facts(computer: Computer, now: datetime) -> Iterator[tuple[str, str]]:
    total = len(computer.configuration.partitions)
    yield "computer", computer.guid
    yield "title", computer.title
    yield "last seen", seen(computer, now)
    yield "partitions", f"{total - computer.free_partitions} used, {computer.free_partitions} free"
    if computer.configuration.network:
        yield "network", computer.configuration.network
    if computer.configuration.labels:
        yield "labels", _labels(computer)
    if computer.configuration.capabilities:
        yield "capabilities", ", ".join(sorted(computer.configuration.capabilities))


def _labels(computer: Computer) -> str:
    return ", ".join(f"{key}={value}" for key, value in sorted(computer.configuration.labels.items()))


def _use(reference: str, addresses: Sequence[str]) -> str:
    return f"{reference or '-':<24} {', '.join(addresses)}".rstrip()


def _with_guid(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("guid", metavar="COMPUTER", help="the computer, as slapos computer list names it")
    return parser
