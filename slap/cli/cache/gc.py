"""`slapos cache gc`: what nobody uses goes."""

import argparse
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from slap.cache.gc import Plan, Removal, Rules, chunks_in, plan, remove_all, supplied_keys, survey
from slap.cache.storage.storage import Storage
from slap.cache.storage.url import open_existing
from slap.cli.base import Lister
from slap.cli.cache.settings import CFG_HELP, settings_of, with_place
from slap.cli.output import Style, say
from slap.cli.usage import size as in_units
from slap.client.config import find_configuration
from slap.client.connect import connect
from slap.model.errors import UsageError

_DAY = 24 * 3600.0
# Uses are recorded to the hour in a folder, and to the day in an object store: what is younger may be in use.
_SHORTEST_GRACE = {"s3": 2.0}
_SHORTEST = 0.1


class CacheGc(Lister):
    """Remove what nobody uses from a cache: expired entries, superseded ones, and blobs that no entry needs.

    Run it where the cache is served, while it is served. With --keep-supplied, releases that a master has supplied to
    computers stay whatever their age, and so do the newest shared parts; without --unused nothing that still counts goes by
    age.
    """

    when_empty = "There is no garbage."
    cfg_help = CFG_HELP

    def get_parser(self, name: str) -> argparse.ArgumentParser:
        parser = with_place(super().get_parser(name))
        parser.add_argument("--dry-run", action="store_true", help="show what would go, and remove nothing")
        parser.add_argument(
            "--superseded", type=_days, default=7.0, metavar="DAYS", help="unused since a newer one came (7)"
        )
        parser.add_argument("--unused", type=_days, metavar="DAYS", help="also what is current, and unused for so long")
        parser.add_argument(
            "--grace", type=_days, default=2.0, metavar="DAYS", help="age of blobs without an entry (2)"
        )
        parser.add_argument(
            "--keep-supplied",
            action="store_true",
            help="keep what a master has supplied to computers, and shared parts",
        )
        parser.add_argument("--client-cfg", metavar="FILE", help="configuration that names that master (the usual one)")
        return parser

    def take_action(self, args: argparse.Namespace) -> tuple[Sequence[str], Iterable[Any]]:
        settings = settings_of(args, self.folder, self.home)
        shortest = _SHORTEST_GRACE.get(settings.storage_url.partition(":")[0], _SHORTEST)
        if args.grace < shortest:
            raise UsageError(f"--grace is at least {shortest} days.", "What came since then may still be on its way.")
        supplied = self._supplied(args) if args.keep_supplied else None
        storage = open_existing(settings.storage_url, settings.folder)
        made = self._plan(storage, args, supplied)
        removed = made.removals if args.dry_run else tuple(_removed(storage, made))
        _summarise(made, removed, args.dry_run)
        return ("what", "why", "number", "bytes"), _rows(removed)

    def _supplied(self, args: argparse.Namespace) -> frozenset[str]:
        found = find_configuration(args.client_cfg or "", self.around)
        master = connect(found.master_url, found.credentials, self.app.world.transport)
        return supplied_keys(supply.url for supply in master.supplies() if supply.requested.value == "available")

    def _plan(self, storage: Storage, args: argparse.Namespace, supplied: frozenset[str] | None) -> Plan:
        unused = args.unused * _DAY if args.unused is not None else None
        rules = Rules(args.superseded * _DAY, unused, args.grace * _DAY)
        with _bar("Looking", None) as (bar, task):
            seen = survey(storage, lambda: bar.advance(task))
            return plan(seen, partial(chunks_in, storage), rules, time.time(), supplied)


def _removed(storage: Storage, made: Plan) -> Iterator[Removal]:
    """What was used meanwhile stays."""
    with _bar("Removing", len(made.removals)) as (bar, task):
        for each, is_gone in remove_all(storage, made.removals):
            if is_gone:
                yield each
            bar.advance(task)


@contextmanager
def _bar(words: str, total: int | None) -> Iterator[tuple[Progress, TaskID]]:
    """A progress bar on a terminal, and nothing elsewhere."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        yield bar, bar.add_task(words, total=total)


def _rows(removals: Iterable[Removal]) -> list[tuple[str, str, int, int]]:
    numbers: Counter[tuple[str, str]] = Counter()
    sizes: Counter[tuple[str, str]] = Counter()
    for each in removals:
        kind = (_NAMES[each.stored.key.partition("/")[0]], each.why.value)
        numbers[kind] += 1
        sizes[kind] += each.stored.size
    return [(what, why, numbers[what, why], sizes[what, why]) for what, why in sorted(numbers)]


_NAMES = {"blob": "blob", "entry": "entry", "dir": "entry of SlapOS"}


def _summarise(made: Plan, removed: Sequence[Removal], is_dry: bool) -> None:
    if made.unreadable:
        say(
            f"Entries that cannot be read may need any blob, so all blobs stay: {len(made.unreadable)},"
            f" the first is {made.unreadable[0]}.",
            Style.BUSY,
        )
    size = sum(each.stored.size for each in removed)
    what = f"{len(removed)} objects, {in_units(size)}"
    say(
        f"Would go: {what}. Would stay: {made.kept} objects, {in_units(made.kept_bytes)}."
        if is_dry
        else f"Removed: {what}. What stays: {made.kept + len(made.removals) - len(removed)} objects.",
        Style.GOOD,
    )


def _days(text: str) -> float:
    try:
        days = float(text)
    except ValueError:
        days = -1
    if not 0 <= days <= 36_500:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of days")
    return days
