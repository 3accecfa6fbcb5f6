"""Waiting for an order, with the phases shown: a live display on a terminal, a line per change elsewhere."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from slap.cli.order.wait import (
    SIGNS,
    Line,
    Mark,
    Order,
    broken_release,
    describe,
    failed,
    failed_instance,
    news,
    unbuildable,
)
from slap.cli.output import age, duration, harmless, has_colours, say
from slap.client.master import Master
from slap.model.errors import NotFound, SlapError, Unreachable
from slap.model.instance import Instance, InstanceTree
from slap.model.state import InstanceState
from slap.system.clock import Clock

LONG_POLL = 20.0  # seconds; also how often a silent node is looked after
LONGEST_PAUSE = 8.0  # seconds between two attempts at a master that is away
SILENCE = 60  # seconds after which a node's silence is worth a word

COLOURS = {Mark.WAITING: "yellow", Mark.WORKING: "yellow", Mark.DONE: "green", Mark.FAILED: "red"}


class Display(Protocol):
    """Shows how an order gets on; `note` is for what concerns the waiting itself."""

    def show(self, lines: Sequence[Line]) -> None: ...
    def note(self, text: str) -> None: ...


class Silent:
    def show(self, lines: Sequence[Line]) -> None:
        """Nothing is wanted."""

    def note(self, text: str) -> None:
        """Nothing is wanted."""


@dataclass
class PlainDisplay:
    """One line for each change, with the time since the order."""

    clock: Clock
    started: float = field(init=False)
    shown: Sequence[Line] = ()

    def __post_init__(self) -> None:
        self.started = self.clock.monotonic()

    def show(self, lines: Sequence[Line]) -> None:
        for line in news(self.shown, lines):
            self.note(f"{'  ' * line.depth}{line.name}: {harmless(line.text)}")
        self.shown = lines

    def note(self, text: str) -> None:
        say(f"{duration(self.clock.monotonic() - self.started):>10}  {text}")


@dataclass
class LiveDisplay:
    """A block that rewrites itself: each instance with its phase, and how long it has been in it."""

    clock: Clock
    shown: Sequence[Line] = ()
    remark: str = ""
    since: dict[str, float] = field(default_factory=dict)
    spinner: Spinner = field(default_factory=lambda: Spinner("dots", style="yellow"))

    def show(self, lines: Sequence[Line]) -> None:
        now = self.clock.monotonic()
        self.since.update({line.guid: now for line in news(self.shown, lines)})
        self.shown, self.remark = lines, ""

    def note(self, text: str) -> None:
        self.remark = harmless(text)

    def __rich__(self) -> Group:
        table = Table.grid(padding=(0, 1))
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        table.add_column(justify="right", no_wrap=True, style="dim")
        for line in self.shown:
            self._add(table, line)
        return Group(table, Text(self.remark, style="yellow")) if self.remark else Group(table)

    def _add(self, table: Table, line: Line) -> None:
        style = COLOURS[line.mark]
        elapsed = duration(self.clock.monotonic() - self.since[line.guid])
        running = line.mark in (Mark.WAITING, Mark.WORKING)
        table.add_row(
            self.spinner if line.mark is Mark.WORKING else Text(SIGNS[line.mark], style),
            Text("  " * line.depth + harmless(line.name), "bold"),
            Text(harmless(line.text), style if line.mark is Mark.FAILED else ""),
            elapsed if running else "",
        )


@contextmanager
def display(clock: Clock, is_quiet: bool = False) -> Iterator[Display]:
    """The display that suits where stderr goes."""
    if is_quiet:
        yield Silent()
    elif not sys.stderr.isatty():
        yield PlainDisplay(clock)
    else:
        shown = LiveDisplay(clock)
        console = Console(stderr=True, no_color=not has_colours(sys.stderr), highlight=False)
        with Live(shown, console=console, refresh_per_second=8):
            yield shown


@dataclass
class Follower:
    """Follows an order at a master, up to `timeout` seconds."""

    master: Master
    clock: Clock
    display: Display
    timeout: float
    started: float = field(init=False)
    pause: float = 0.0
    looked_after: bool = False

    def __post_init__(self) -> None:
        self.started = self.clock.monotonic()

    @property
    def elapsed(self) -> float:
        return self.clock.monotonic() - self.started

    def follow(self, order: Order) -> InstanceTree:
        """The tree once it is as ordered; raises when it failed, or when time is up."""
        tree: InstanceTree | None = None
        while True:
            tree = self._next(order, tree)
            self.display.show(describe(tree))
            if tree.is_settled:
                return tree
            self._raise_failures(tree)

    def _next(self, order: Order, tree: InstanceTree | None) -> InstanceTree:
        """The tree when there is news of it; while the master is away, it is asked again and again."""
        while True:
            left = self.timeout - self.elapsed
            if left <= 0 and tree:
                raise self._out_of_time(order, tree)
            try:
                return self._ask(order, tree, max(0.0, min(LONG_POLL, left)))
            except Unreachable as error:
                if left <= 0:
                    raise
                self._wait_for_master(error, left)

    def _ask(self, order: Order, tree: InstanceTree | None, wait: float) -> InstanceTree:
        since, incarnation = (tree.revision, tree.incarnation) if tree else (0, "")
        try:
            found = self.master.tree(order.accepted.guid, since, wait if tree else 0, incarnation)
        except NotFound:
            if order.accepted.requested is not InstanceState.DESTROYED:
                raise
            return InstanceTree(root=order.accepted, instances=(), revision=since)
        self.pause = 0.0
        if tree and (found.revision, found.incarnation) == (since, incarnation):
            self._look_after_node(found)
        return found

    def _wait_for_master(self, error: Unreachable, left: float) -> None:
        self.pause = min(LONGEST_PAUSE, self.pause * 2 or 0.5, left)
        self.display.note(f"{error.brief} {error.details} Trying again in {duration(self.pause)}.")
        self.clock.sleep(self.pause)

    def _look_after_node(self, tree: InstanceTree) -> None:
        """Nothing was heard for a while: is it that the node is away? It is said once."""
        guid = tree.root.computer
        seen = "" if self.looked_after else self._last_seen(guid)
        if seen:
            self.looked_after = True
            self.display.note(f"The node of {guid} was last heard {seen} ago. Does its agent run?")

    def _last_seen(self, guid: str) -> str:
        """How long a node has been silent; empty when it is not, or when we may not know."""
        try:
            seen_at = self.master.computer(guid).seen_at
        except SlapError:
            return ""
        now = self.clock.now()
        return age(seen_at, now) if seen_at and (now - seen_at).total_seconds() > SILENCE else ""

    def _out_of_time(self, order: Order, tree: InstanceTree) -> SlapError:
        open_ones = [line for line in describe(tree) if line.mark is not Mark.DONE]
        name, root = order.accepted.reference, tree.root
        return SlapError(
            f"{name} is not {root.requested} after {duration(self.timeout)}. The order goes on.",
            "\n".join(f"{line.name}: {line.text}" for line in open_ones),
            f"slapos service info {name}; slapos computer info {root.computer}",
        )

    def _raise_failures(self, tree: InstanceTree) -> None:
        broken = unbuildable(tree)
        if broken:
            raise broken_release(broken, self._build_log(broken))
        instance = failed(tree)
        if instance:
            raise failed_instance(instance, tree.root)

    def _build_log(self, instance: Instance) -> str:
        """The end of the log, which is kept with the supply; empty when we may not see that."""
        try:
            supplies = self.master.supplies(instance.computer, instance.software_release)
        except SlapError:
            return ""
        return "\n".join(supply.log for supply in supplies)
