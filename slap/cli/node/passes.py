"""`slapos node`: single passes, the agent that repeats them, and what they leave to look at."""

import argparse
import logging
import os
import signal
from logging.handlers import RotatingFileHandler
from pathlib import Path

from slap.cli.local import NodeCommand
from slap.cli.output import Style, duration, harmless, say
from slap.model.errors import SlapError
from slap.node.agent import Agent
from slap.node.config import NodeConfig
from slap.node.node import Kind, Node
from slap.node.passes import PassResult, plan_pass, report_all, run_pass, run_promises
from slap.node.prune import find_leftovers, prune

_FORMAT = "%(asctime)s %(levelname)s %(message)s"
# Which file under log/ gets the lines of which module; all others go to that of the instances.
_LOGS = {"slap.node.software": "software", "slap.node.report": "report"}


class _Working(NodeCommand):
    """A command that has the node work."""

    def node(self, args: argparse.Namespace) -> Node:
        config = self.config(args)
        config.make_folders()
        log_to_files(config)
        return Node(config)


class _Pass(_Working):
    """A single pass over one kind of thing."""

    kind: Kind
    patience: float

    def get_parser(self, name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(name)
        parser.add_argument(
            "--timeout", type=float, default=self.patience, metavar="S", help=f"longest wait ({self.patience:g} s)"
        )
        parser.add_argument("--dry-run", action="store_true", help="only print what would be done first, name by name")
        parser.add_argument("--only", action="append", default=[], metavar="NAME", help="only these")
        return parser

    def take_action(self, args: argparse.Namespace) -> None:
        node = self.node(args)
        if args.dry_run:
            self._plan(node, frozenset(args.only))
            return
        started = self.clock.monotonic()
        try:
            result = run_pass(node, self.kind, args.timeout, frozenset(args.only))
        finally:
            node.close()
        self._show(result, self.clock.monotonic() - started)

    def _plan(self, node: Node, only: frozenset[str]) -> None:
        for name, step in plan_pass(node, self.kind, only).items():
            self.app.stdout.write(f"{name}  {step}\n")
        node.close()

    def _show(self, result: PassResult, seconds: float) -> None:
        if result.by_agent:
            say("The agent runs and was told to look at everything now.")
            return
        for name in result.unfinished:
            say(f"{name} is not finished; the next pass goes on with it.", Style.BUSY)
        if result.failures:
            raise SlapError("Not everything is as requested.", harmless("\n".join(result.failures)), _LOOK)
        say(f"Done in {duration(seconds)}.", Style.GOOD)


class NodeSoftware(_Pass):
    """Build and remove software releases, once."""

    kind = Kind.SOFTWARE
    patience = 4 * 3600


class NodeInstance(_Pass):
    """Process the partitions, once: instantiate, start, stop, destroy, and ask the promises that are due."""

    kind = Kind.INSTANCE
    patience = 60


class NodeReport(_Working):
    """Report everything to the master, whether it was told before or not."""

    def take_action(self, args: argparse.Namespace) -> None:
        node = self.node(args)
        say(f"{report_all(node)} reports were taken by the master.", Style.GOOD)
        node.close()


class NodeAgent(_Working):
    """Follow the master and process its orders at once. Services go on when the agent ends."""

    def take_action(self, args: argparse.Namespace) -> None:
        agent = Agent(self.node(args))
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: agent.stop())
        agent.run()
        logging.shutdown()
        os._exit(0)  # what runs in its threads is cut off and done again, as after a crash


class NodeBang(_Working):
    """Have all partitions of this computer processed again, on every node command's next pass or at once by the agent."""

    def get_parser(self, name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(name)
        parser.add_argument("-m", "--message", default="", help="why, for the record")
        return parser

    def take_action(self, args: argparse.Namespace) -> None:
        node = self.node(args)
        node.master().bang_computer(node.config.computer_id, args.message)
        say("All partitions of this computer will be processed again.", Style.GOOD)
        node.close()


class NodePromise(_Working):
    """Run the promises of partitions now, and say what each says."""

    def get_parser(self, name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(name)
        parser.add_argument("partition", nargs="*", help="(all)")
        return parser

    def take_action(self, args: argparse.Namespace) -> None:
        node = self.node(args)
        results = run_promises(node, args.partition or node.partitions.names())
        failed = 0
        for partition, each in results.items():
            for result in each:
                failed += not result.passed
                words = "passed" if result.passed else "failed"
                self.app.stdout.write(f"{partition} {result.name} {words} {harmless(result.message)}".rstrip() + "\n")
        node.close()
        if failed:
            raise SlapError(f"{failed} promises failed.")


class NodePrune(_Working):
    """Remove what nothing needs any more: releases without a supply or instance, downloads, logs of what is gone."""

    def get_parser(self, name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(name)
        parser.add_argument("--dry-run", action="store_true", help="only print what would be removed")
        return parser

    def take_action(self, args: argparse.Namespace) -> None:
        node = self.node(args)
        leftovers = find_leftovers(node.config, node.store)
        for leftover in leftovers:
            self.app.stdout.write(f"{leftover.path}  {leftover.reason}\n")
        if not args.dry_run:
            prune(leftovers)
        say(f"{len(leftovers)} leftovers{' would be' if args.dry_run else ' were'} removed.", Style.GOOD)
        node.close()


def log_to_files(config: NodeConfig) -> None:
    """One file for each kind of work, rotated, as SlapOS has them: slapos-node-software.log and so on."""
    logging.raiseExceptions = False  # a log that cannot be written, on a full disk, is no reason to fill another one
    root = logging.getLogger("slap.node")
    root.setLevel(logging.INFO)
    root.addHandler(_handler(config.log / "slapos-node-instance.log"))
    for module, name in _LOGS.items():
        logging.getLogger(module).addHandler(_handler(config.log / f"slapos-node-{name}.log"))


def _handler(path: Path) -> logging.Handler:
    handler = RotatingFileHandler(path, maxBytes=10_000_000, backupCount=3, delay=True)
    handler.setFormatter(logging.Formatter(_FORMAT))
    return handler


_LOOK = "Look with `slapos node status`, and into the logs with `slapos service logs NAME`."
