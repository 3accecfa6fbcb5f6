"""`slapos request`: order a service, wait until it runs, and print how to connect to it."""

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from slap.cli.base import Show
from slap.cli.order.follow import Follower, display
from slap.cli.order.parameters import add_request_options, request_of
from slap.cli.order.plan import change_lines
from slap.cli.order.products import resolve
from slap.cli.order.wait import Order, make_order, phase
from slap.cli.output import Style, duration, say
from slap.client.master import Master
from slap.model.errors import NotFound, NotReady
from slap.model.instance import Instance, InstanceRequest, InstanceTree
from slap.model.state import InstanceState, Status


class Ordering(Show):
    """A command that places an order, waits for it, and prints the connection parameters."""

    def get_parser(self, name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(name)
        parser.add_argument("--no-wait", action="store_true", help="return at once; exit status 3 when it is not ready")
        parser.add_argument("--timeout", type=float, default=900, metavar="SECONDS", help="how long to wait (900)")
        return parser

    def order(self, args: argparse.Namespace, master: Master, request: InstanceRequest) -> tuple[Sequence[str], Any]:
        """Place an order, wait for it unless told otherwise, and return what to print."""
        order = place(master, request)
        announce(master, order)
        root = self._now(master, order) if args.no_wait else self._wait(master, order, args.timeout)
        return self.fields(root.connection if root.requested is InstanceState.STARTED else {})

    def _now(self, master: Master, order: Order) -> Instance:
        tree = look(master, order)
        if not tree.is_settled:
            self.unfinished = not_ready(tree.root)
        return tree.root

    def _wait(self, master: Master, order: Order, timeout: float) -> Instance:
        name, started = order.accepted.reference, self.clock.monotonic()
        try:
            with display(self.clock, is_quiet=self.app.options.verbose_level == 0) as shown:
                root = Follower(master, self.clock, shown, timeout).follow(order).root
        except KeyboardInterrupt:
            say(f"No longer waiting; the order goes on. See how: slapos service info {name}")
            raise
        if order.changed:
            say(*outcome(root, self.clock.monotonic() - started))
        return root


class Request(Ordering):
    """Order a service, or change one, and wait until it runs.

    The same NAME again changes the service: an order always says all of it, so parameters that are not given any more
    are dropped. Values are JSON where they can be (port=8080 is a number), text otherwise.
    """

    def get_parser(self, name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(name)
        add_request_options(parser)
        return parser

    def take_action(self, args: argparse.Namespace) -> tuple[Sequence[str], Any]:
        master = self.master(args)
        args.url = resolve(master, args.url)
        return self.order(args, master, request_of(args, self.folder))


def place(master: Master, request: InstanceRequest) -> Order:
    """Send a request. The same one again, of a service that failed, has it tried again at once."""
    before = next(iter(master.instances(request.reference)), None)
    order = make_order(before, master.request(request))
    if not order.changed and order.accepted.status is Status.ERROR:
        master.bang_instance(order.accepted.guid, "requested again")
    return order


def look(master: Master, order: Order) -> InstanceTree:
    """The tree of an order as it is now; a destroyed one may be gone."""
    try:
        return master.tree(order.accepted.guid)
    except NotFound:
        return InstanceTree(root=order.accepted, instances=(), revision=order.accepted.revision)


def announce(master: Master, order: Order) -> None:
    """Say what the order did, before its effects are waited for."""
    accepted = order.accepted
    if not order.changed:
        say(f"{accepted.reference} is already requested like this.")
    elif order.is_new:
        say(f"{accepted.reference} is placed on {accepted.computer}, in {accepted.partition}.")
    else:
        say(f"{accepted.reference} changes:")
        for line in change_lines(master.history(accepted.guid)[-1].changes, sys.stderr):
            sys.stderr.write(f"{line}\n")


def outcome(root: Instance, seconds: float) -> tuple[str, Style]:
    """What was seen of an order in the end. Some masters keep orders and connection parameters, and no reports."""
    if root.status is not Status.UNKNOWN:
        return f"{root.reference} is {root.requested} after {duration(seconds)}.", Style.GOOD
    published = "It published its connection parameters. " if root.connection else ""
    what = f"{root.reference} is requested {root.requested}. {published}"
    return f"{what}Its master does not tell whether it is {root.requested}.", Style.PLAIN


def not_ready(root: Instance) -> NotReady:
    _, text = phase(root)
    return NotReady(
        f"{root.reference} is ordered, but not yet {root.requested}.", text, f"slapos service info {root.reference}"
    )
