"""New orders for a service that exists: start, stop, destroy, and back to what was ordered before."""

import argparse
from collections.abc import Sequence
from typing import Any, ClassVar

from slap.cli.find import find
from slap.cli.order.request import Ordering
from slap.client.master import Master
from slap.model.errors import NotFound
from slap.model.instance import HistoryEntry, Instance, InstanceRequest
from slap.model.state import InstanceState


class Transition(Ordering):
    """Request another state of a service, and nothing else."""

    state: ClassVar[InstanceState]

    def get_parser(self, name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(name)
        parser.add_argument("reference", metavar="NAME", help="the service")
        return parser

    def take_action(self, args: argparse.Namespace) -> tuple[Sequence[str], Any]:
        master = self.master(args)
        return self.order(args, master, same_but(find(master, args.reference), self.state))


class ServiceStart(Transition):
    """Start a stopped service."""

    state = InstanceState.STARTED


class ServiceStop(Transition):
    """Stop a service and keep its data."""

    state = InstanceState.STOPPED


class ServiceDestroy(Transition):
    """Destroy a service with its data."""

    state = InstanceState.DESTROYED


class ServiceRollback(Ordering):
    """Request again what was requested before.

    Release, type, parameters and state become those of entry NUMBER of slapos service history, or of the entry before
    the last one; it is a new entry of the history, so a rollback can be rolled back.
    """

    def get_parser(self, name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(name)
        parser.add_argument("reference", metavar="NAME", help="the service")
        parser.add_argument("number", metavar="NUMBER", type=int, nargs="?", help="an entry of its history")
        return parser

    def take_action(self, args: argparse.Namespace) -> tuple[Sequence[str], Any]:
        master = self.master(args)
        return self.order(args, master, former_request(master, args.reference, args.number))


def same_but(instance: Instance, state: InstanceState) -> InstanceRequest:
    """The request that an instance is the answer to, with another state."""
    return InstanceRequest(
        reference=instance.reference,
        software_release=instance.software_release,
        software_type=instance.software_type,
        parameters=instance.parameters,
        state=state,
        sla=instance.sla,
        shared=instance.shared,
        serialisation=instance.serialisation,
    )


def former_request(master: Master, reference: str, number: int | None) -> InstanceRequest:
    """What was requested once, of what is called otherwise by now, perhaps."""
    instance = find(master, reference)
    request = choose_entry(reference, master.history(instance.guid), number).request
    return request.model_copy(update={"reference": instance.reference})


def choose_entry(reference: str, history: Sequence[HistoryEntry], number: int | None) -> HistoryEntry:
    """The entry of that number, or the one before the last."""
    ordered = sorted(history, key=lambda entry: entry.number)
    if number is None and len(ordered) < 2:
        raise NotFound(f"Nothing was requested of {reference} before what is requested now.")
    if number is None:
        return ordered[-2]
    found = next((entry for entry in ordered if entry.number == number), None)
    if not found:
        known = f"It has {ordered[0].number} to {ordered[-1].number}." if ordered else ""
        raise NotFound(
            f"The history of {reference} has no entry {number}.", known, f"slapos service history {reference}"
        )
    return found
