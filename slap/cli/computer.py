"""Computers: list, info, token."""

import argparse
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from slap.cli.base import Lister, Show
from slap.cli.formats import Cell
from slap.cli.output import Style, age, columns, harmless, say
from slap.cli.usage import computer_usage
from slap.client.master import Master
from slap.model.computer import Computer
from slap.model.errors import NotOffered
from slap.model.resources.limits import ComputerLimits
from slap.model.software import Supply
from slap.model.state import ReportedSupplyState
from slap.model.usage import UsageSeries
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
        self.text = "\n\n".join(info_text(computer, supplies, self.clock.now(), _usage_of(master, args.guid)))
        found = [supply.model_dump(mode="json") for supply in supplies]
        return self.fields({**computer.model_dump(mode="json"), "supplies": found})


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


def _usage_of(master: Master, guid: str) -> list[UsageSeries]:
    with suppress(NotOffered):
        return master.computer_usage(guid)
    return []


def info_text(
    computer: Computer, supplies: Sequence[Supply], now: datetime, usage: Sequence[UsageSeries] = ()
) -> Iterator[str]:
    """All about a computer, in paragraphs."""
    yield columns(_facts(computer, now), indent=0)
    if computer.partitions:
        rows = ((use.partition.name, _use(use.reference, use.partition.ipv4)) for use in computer.partitions)
        yield "Partitions\n" + columns(rows)
    if computer.configuration.limits:
        yield "Limits of a partition\n" + columns(_limits(computer.configuration.limits))
    yield "Software\n" + ("\n".join(map(supply_lines, supplies)) or "  none is supplied")
    yield from computer_usage(usage)


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


def _limits(limits: ComputerLimits) -> Iterator[tuple[str, str]]:
    for name, text in limits.lines().items():
        yield name.replace("_", " "), harmless(text)


def _labels(computer: Computer) -> str:
    return ", ".join(f"{key}={value}" for key, value in sorted(computer.configuration.labels.items()))


def _use(reference: str, addresses: Sequence[str]) -> str:
    return f"{reference or '-':<24} {', '.join(addresses)}".rstrip()


def _with_guid(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("guid", metavar="COMPUTER", help="the computer, as slapos computer list names it")
    return parser
