"""`slapos node`: single passes, the agent that repeats them, and what they leave to look at."""

import argparse
import logging
import os
import signal
from pathlib import Path

from slap.cli.cache.bar import Bar
from slap.cli.local import NodeCommand
from slap.cli.node.logs import log_to_files
from slap.cli.node.options import add_options, configured, explain, names, pid_file
from slap.cli.output import Style, duration, harmless, say, short_release
from slap.model.errors import SlapError
from slap.node.agent import Agent
from slap.node.core.config import NodeConfig
from slap.node.image import service
from slap.node.node import Kind, Node
from slap.node.passes import (
    PassOptions,
    PassResult,
    PromisesFail,
    agent_runs,
    plan_pass,
    report_all,
    run_pass,
    run_promises,
    stop_services,
)
from slap.node.software.prune import find_leftovers, is_release, prune
from slap.system.environment import clean, own_program
from slap.system.process import start_daemon


class _Working(NodeCommand):
    """A command that has the node work."""

    def node(self, args: argparse.Namespace, role: str = "") -> Node:
        return self._node(self.config(args), role)

    def _node(self, config: NodeConfig, role: str = "") -> Node:
        config.make_folders()
        log_to_files(config)
        return Node(config, role)


class _WithOptions(_Working):
    """A command that has the options of SlapOS's passes."""

    def get_parser(self, name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(name)
        add_options(parser)
        return parser

    def node(self, args: argparse.Namespace, role: str = "") -> Node:
        explain(args)
        return self._node(configured(self.config(args), args, self.folder), role)


class _Pass(_WithOptions):
    """A single pass over one kind of thing."""

    kind: Kind
    patience: float
    only: str  # SlapOS's name of the option

    def get_parser(self, name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(name)
        parser.add_argument("--timeout", type=float, default=self.patience, metavar="S", help=_PATIENCE)
        parser.add_argument("--dry-run", action="store_true", help="only print what would be done first, name by name")
        parser.add_argument("--buildout-debug", action="store_true", help="accepted for SlapOS")
        parser.add_argument("--force", action="store_true", help="also what was done already")
        which = parser.add_mutually_exclusive_group()
        which.add_argument("--all", action="store_true", dest="force", help="the same as --force")
        which.add_argument("--only", self.only, action="append", default=[], metavar="NAME[,...]", help="only these")
        return parser

    def take_action(self, args: argparse.Namespace) -> None:
        node = self.node(args, f":{self.kind}")
        try:
            with pid_file(args.pidfile):
                self._act(node, args)
        finally:
            node.close()

    def _act(self, node: Node, args: argparse.Namespace) -> None:
        asked = PassOptions(args.timeout, names(args.only), args.force, args.maximum_periodicity)
        if args.dry_run:
            for name, step in plan_pass(node, self.kind, asked).items():
                self.app.stdout.write(f"{name}  {step}\n")
            return
        started = self.clock.monotonic()
        self._show(run_pass(node, self.kind, asked), self.clock.monotonic() - started)

    def _show(self, result: PassResult, seconds: float) -> None:
        if result.by_agent:
            say("The agent runs and was told to look at everything now.")
        try:
            result.check()
        except SlapError as error:
            error.details = harmless(error.details)
            raise
        say(f"Done in {duration(seconds)}.", Style.GOOD)


class NodeSoftware(_Pass):
    """Build and remove software releases, once."""

    kind = Kind.SOFTWARE
    patience = 4 * 3600
    only = "--only-sr"

    def get_parser(self, name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(name)
        parser.add_argument("--garbage-collect", action="store_true", help="remove releases that nothing wants")
        return parser

    def _act(self, node: Node, args: argparse.Namespace) -> None:
        try:
            with Bar(self.clock) as bar:
                node.cache.watch = lambda url, done, total: bar(short_release(url), done, total)
                super()._act(node, args)
        finally:  # one release that cannot be built keeps no other
            if args.garbage_collect:
                self._collect(node, args.dry_run)
            if not args.dry_run:
                self._upload(node, args)

    def _show(self, result: PassResult, seconds: float) -> None:
        for url, words in result.notes.items():
            say(f"{url}: {words}")
        super()._show(result, seconds)

    def _upload(self, node: Node, args: argparse.Namespace) -> None:
        """Uploads go on behind our back: an upload cache that is slow or gone holds up no pass."""
        if node.cache.uploads.is_due() and not agent_runs(node):
            argv = (str(own_program("slapos")), "cache", "push", "--queued", "--cfg", str(self.cfg(args)))
            start_daemon(argv, clean(Path.home()), node.config.root, node.config.log / "slapos-node-software.log")

    def _collect(self, node: Node, dry_run: bool) -> None:
        leftovers = [each for each in find_leftovers(node.config, node.store) if is_release(node.config, each)]
        for leftover in leftovers:
            self.app.stdout.write(f"{leftover.path}  {leftover.reason}\n")
        prune(() if dry_run else leftovers)


class NodeInstance(_Pass):
    """Process the partitions, once: instantiate, start, stop, destroy, and ask the promises that are due."""

    kind = Kind.INSTANCE
    patience = 60
    only = "--only-cp"

    def get_parser(self, name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(name)
        parser.add_argument("--force-stop", action="store_true", help="stop services, whatever is requested of them")
        return parser

    def _act(self, node: Node, args: argparse.Namespace) -> None:
        if not args.force_stop:
            super()._act(node, args)
            return
        for name in stop_services(node, names(args.only)):
            self.app.stdout.write(f"{name}  stopped\n")
        say("They stay stopped until `slapos node start`, or until something about them changes.")


class NodeReport(_WithOptions):
    """Report everything to the master, whether it was told before or not."""

    def take_action(self, args: argparse.Namespace) -> None:
        node = self.node(args)
        with pid_file(args.pidfile):
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


class NodePromise(_WithOptions):
    """Run the promises of partitions now, and say what each says."""

    def get_parser(self, name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(name)
        parser.add_argument("partition", nargs="*", help="(all)")
        parser.add_argument("--only-cp", "--only", action="append", default=[], metavar="NAME[,...]", help="only these")
        return parser

    def take_action(self, args: argparse.Namespace) -> None:
        node = self.node(args)
        try:
            with pid_file(args.pidfile):
                self._run(node, args)
        finally:
            node.close()

    def _run(self, node: Node, args: argparse.Namespace) -> None:
        wanted = sorted({*args.partition, *names(args.only_cp)}) or node.partitions.names()
        for name in wanted:
            node.partitions.get(name)  # raises for one that is none
        failed = 0
        for partition, each in run_promises(node, wanted).items():
            for result in each:
                failed += not result.passed
                words = "passed" if result.passed else "failed"
                self.app.stdout.write(f"{partition} {result.name} {words} {harmless(result.message)}".rstrip() + "\n")
        if failed:
            raise PromisesFail(f"{failed} promises failed.")


class NodePrune(_Working):
    """Remove what nothing needs any more: releases without a supply or instance, images, downloads, logs."""

    def get_parser(self, name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(name)
        parser.add_argument("--dry-run", action="store_true", help="only print what would be removed")
        parser.add_argument(
            "--additional-software-directory", action="append", default=[], metavar="FOLDER", type=Path,
            help="another folder with releases, which use what they name (may be repeated)",
        )  # fmt: skip
        return parser

    def take_action(self, args: argparse.Namespace) -> None:
        node = self.node(args)
        leftovers = find_leftovers(node.config, node.store, args.additional_software_directory)
        images = service.leftovers(node.config)
        for leftover in (*leftovers, *images):
            self.app.stdout.write(f"{leftover.path}  {leftover.reason}\n")
        if not args.dry_run:
            prune(leftovers)
            service.prune(node.config)
        say(f"{len(leftovers) + len(images)} leftovers{' would be' if args.dry_run else ' were'} removed.", Style.GOOD)
        node.close()


_PATIENCE = "longest wait"
