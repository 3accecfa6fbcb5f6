"""`slapos standalone`: a whole small cloud in one folder, on this machine, as whoever types the command."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from slap.cli.base import Command, Lister
from slap.cli.cloud import Cloud
from slap.cli.order.follow import Follower, display
from slap.cli.order.request import place
from slap.cli.output import Style, duration, harmless, paint, say, short_release
from slap.cli.supply import build_failed, is_over
from slap.client.config import STANDALONE_FILE
from slap.model.errors import SlapError
from slap.model.instance import Instance, InstanceRequest
from slap.model.software import SupplyRequest
from slap.model.state import ReportedSupplyState, Status
from slap.node.partition.supervision import shut_down
from slap.system.environment import typed

EXAMPLE = "software/helloworld/software.cfg"
EXAMPLE_NAME = "hello"
_BUILD_PATIENCE = 900.0


class _Standalone(Command):
    """A command about the small cloud in a folder."""

    def get_parser(self, name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(name)
        parser.add_argument(
            "--folder", metavar="FOLDER", default=str(STANDALONE_FILE.parent), help=f"({STANDALONE_FILE.parent})"
        )
        return parser

    def cloud(self, args: argparse.Namespace) -> Cloud:
        return Cloud((self.folder / args.folder).resolve(), self.clock)


class StandaloneUp(_Standalone):
    """Bring a whole small cloud up on this machine: a master, a node, a software release, and a service on it.

    Repeated, it makes good what is missing and leaves the rest alone.
    """

    def get_parser(self, name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(name)
        parser.add_argument("--partition-number", type=int, default=10, metavar="N", help="partitions (10)")
        parser.add_argument("--no-example", action="store_true", help="order no example service")
        return parser

    def take_action(self, args: argparse.Namespace) -> None:
        self._started = self.clock.monotonic()
        cloud = self.cloud(args)
        missing = cloud.missing()
        with self._phase("Master", cloud):
            cloud.start_master()
        with self._phase("Cache", cloud):
            cloud.start_cache()
        with self._phase("Node", cloud):
            cloud.start_node(args.partition_number)
            cloud.start_watchdog()
        example = self.folder / EXAMPLE
        if not args.no_example and example.exists():
            self._order_example(cloud, str(example))
        self._show(cloud, "is up" if missing else "was up already")

    def _order_example(self, cloud: Cloud, url: str) -> None:
        with self._phase(f"Software {short_release(url)}", cloud):
            self._supply(cloud, url)
        with self._phase(f"Service {EXAMPLE_NAME}", cloud), display(self.clock, is_quiet=True) as shown:
            order = place(cloud.master(), InstanceRequest(reference=EXAMPLE_NAME, software_release=url))
            Follower(cloud.master(), self.clock, shown, timeout=300).follow(order)

    def _supply(self, cloud: Cloud, url: str) -> None:
        """Supplied anew each time: in a folder that is worked on, the release may have changed."""
        master = cloud.master()
        master.supply(SupplyRequest(url=url, computer=cloud.computer()))
        started = self.clock.monotonic()
        while not is_over(now := master.supplies(cloud.computer(), url)[0]):
            if self.clock.monotonic() - started > _BUILD_PATIENCE:
                raise SlapError(f"{url} is not built after {duration(_BUILD_PATIENCE)}.", now.message)
            self.clock.sleep(0.05)
        if now.reported is ReportedSupplyState.ERROR:
            raise build_failed(now)

    @contextmanager
    def _phase(self, name: str, cloud: Cloud) -> Iterator[None]:
        """A line for each phase, with the time that it took; where it fails, the end of the logs."""
        started = self.clock.monotonic()
        if sys.stderr.isatty():
            sys.stderr.write(f"  … {name}\r")
            sys.stderr.flush()
        try:
            yield
        except SlapError:
            say(f"  ✗ {name}", Style.BAD)
            say(cloud.last_words())
            raise
        mark = paint("✓", Style.GOOD, sys.stderr)
        took = duration(self.clock.monotonic() - started)
        sys.stderr.write(f"  {mark} {harmless(name):<60.60} {took:>8}\n")

    def _show(self, cloud: Cloud, how: str) -> None:
        took = duration(self.clock.monotonic() - self._started)
        say(f"\nThe cloud in {cloud.folder} {how}; that took {took}.\n", Style.GOOD)
        services = cloud.services()
        for line in table(services) if services else ():
            self.app.stdout.write(line + "\n")
        order = f"request second {EXAMPLE} --parameters greeting=Hi"
        if not (self.folder / EXAMPLE).exists():
            order = f"supply SOFTWARE-URL {cloud.computer()} --wait"
        say("\nTry next:" if services else "Try next:")
        for line in next_commands(services, order):
            say(f"  {typed('slapos', self.folder)} {line}", Style.BOLD)


class StandaloneDown(_Standalone):
    """End every process of the small cloud. Its data stays, and `slapos standalone up` brings all of it back."""

    def take_action(self, args: argparse.Namespace) -> None:
        cloud = self.cloud(args)
        if not cloud.folder.exists():
            say(f"There is no cloud in {cloud.folder}.")
            return
        ended = shut_down(cloud.node_config())
        say(f"Nothing of {cloud.folder} runs any more." if ended else f"Nothing of {cloud.folder} ran.", Style.GOOD)


class StandaloneStatus(_Standalone, Lister):
    """Show what of the small cloud runs, and where."""

    def take_action(self, args: argparse.Namespace) -> tuple[Sequence[str], Any]:
        cloud = self.cloud(args)
        rows = [(each.reference, each.status.value, each.partition, connection_of(each)) for each in cloud.services()]
        say(
            f"The cache: {cloud.cache_url}"
            if cloud.cache_url
            else "There is no cache: slapos standalone up starts one."
        )
        return ("Service", "Status", "Partition", "Connection"), rows


def connection_of(instance: Instance) -> str:
    """The one value of a service's connection that people want to see first."""
    values = {name: str(value) for name, value in instance.connection.items() if "url" in name.lower()}
    return values.get("url", next(iter(values.values()), ""))


def table(services: Sequence[Instance]) -> list[str]:
    """What runs where, with the addresses that answer."""
    rows = [("SERVICE", "STATUS", "PARTITION", "URL")]
    rows += [(each.reference, each.status.value, each.partition, connection_of(each)) for each in services]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def next_commands(services: Sequence[Instance], order: str) -> tuple[str, ...]:
    """What of slapos shows a newcomer what this is."""
    running = next((each.reference for each in services if each.status is Status.STARTED), None)
    return (*((f"service info {running}",) if running else ()), order, "node status")
