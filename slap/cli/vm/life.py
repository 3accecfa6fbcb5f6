"""`slapos vm snapshot|restore|backup|clone`: short for an order with another wish in its parameters."""

import argparse
from collections.abc import Sequence
from typing import Any

from slap.cli.find import find
from slap.cli.order.change import same_but
from slap.cli.order.request import Ordering
from slap.cli.vm import parameters
from slap.client.master import Master
from slap.model.errors import Conflict
from slap.model.instance import Instance
from slap.model.state import InstanceState


class _Life(Ordering):
    """Changes the order of a machine that is started, and waits until it is so."""

    def get_parser(self, name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(name)
        parser.add_argument("reference", metavar="NAME", help="the machine")
        return parser

    def change(
        self, args: argparse.Namespace, master: Master, machine: Instance, parameters: dict[str, Any]
    ) -> tuple[Sequence[str], Any]:
        request = same_but(machine, machine.requested).model_copy(update={"parameters": parameters})
        return self.order(args, master, request)

    def machine(self, args: argparse.Namespace, master: Master) -> Instance:
        found = find(master, args.reference)
        if found.requested is not InstanceState.STARTED:
            raise Conflict(
                f"{found.reference} is not started.",
                "Its machine does not run, so nothing can be done with it.",
                f"slapos service start {found.reference}",
            )
        return found


class VmSnapshot(_Life):
    """Keep the disks of a machine as they are now, while it runs.

    They are all kept as they are at the same moment, as after a power cut: memory is not in a snapshot. What was ordered
    of snapshots before stays.
    """

    def get_parser(self, name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(name)
        parser.add_argument("snapshot", metavar="SNAPSHOT", nargs="?", help="its name (the time)")
        parser.add_argument("--remove", action="store_true", help="remove that one instead")
        return parser

    def take_action(self, args: argparse.Namespace) -> tuple[Sequence[str], Any]:
        master = self.master(args)
        machine = self.machine(args, master)
        name = args.snapshot or parameters.new_snapshot_name(self.clock.now())
        wish = parameters.without_snapshot if args.remove else parameters.with_snapshot
        return self.change(args, master, machine, wish(machine, name))


class VmRestore(_Life):
    """Take a machine back to a snapshot or a backup.

    It is switched off, its disks become what they were, and it starts again. What was written since is lost, unless a
    snapshot or a backup has it.
    """

    def get_parser(self, name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(name)
        what = parser.add_mutually_exclusive_group(required=True)
        what.add_argument("snapshot", metavar="SNAPSHOT", nargs="?", help="the name of a snapshot")
        what.add_argument("--backup", metavar="BACKUP", help="the name of a backup, or latest")
        return parser

    def take_action(self, args: argparse.Namespace) -> tuple[Sequence[str], Any]:
        master = self.master(args)
        machine = self.machine(args, master)
        kind, name = ("backup", args.backup) if args.backup else ("snapshot", args.snapshot)
        return self.change(args, master, machine, parameters.with_restore(machine, kind, name, self.clock.now()))


class VmBackup(_Life):
    """Back a machine up now, while it runs, and say how often that happens by itself.

    After the first backup only what changed since the last one is copied. What is not said stays as it was ordered.
    """

    def get_parser(self, name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(name)
        parser.add_argument("--every", metavar="PERIOD", help="such as 30min, 1h or 1d; never: only when told to")
        parser.add_argument("--keep", type=int, metavar="COUNT", help="how many can be restored (14)")
        where = parser.add_mutually_exclusive_group()
        where.add_argument("--vault", metavar="NAME", help="keep them in this service, of type vault")
        where.add_argument("--here", action="store_true", help="keep them in the machine's partition")
        return parser

    def take_action(self, args: argparse.Namespace) -> tuple[Sequence[str], Any]:
        master = self.master(args)
        machine = self.machine(args, master)
        changes: dict[str, Any] = {}
        if args.every:
            changes["every"] = None if args.every == "never" else args.every
        if args.keep is not None:
            changes["keep"] = args.keep
        if args.vault or args.here:
            changes["to"] = parameters.vault_access(find(master, args.vault)) if args.vault else None
        return self.change(args, master, machine, parameters.with_backup(machine, changes, self.clock.now()))


class VmClone(_Life):
    """Order a new machine that begins as another one was at a backup in a vault.

    It has the same parameters, but a name, addresses, host keys and a machine-id of its own.
    """

    def get_parser(self, name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(name)
        parser.add_argument("new", metavar="NEW", help="the name of the new machine")
        parser.add_argument("--backup", metavar="BACKUP", help="the name of a backup (the newest)")
        return parser

    def take_action(self, args: argparse.Namespace) -> tuple[Sequence[str], Any]:
        master = self.master(args)
        machine = find(master, args.reference)
        if any(each.reference == args.new for each in master.instances(args.new)):
            raise Conflict(f"There is a service {args.new} already.", resolution="Choose another name.")
        request = same_but(machine, InstanceState.STARTED).model_copy(
            update={"reference": args.new, "parameters": parameters.as_clone(machine, args.backup)}
        )
        return self.order(args, master, request)
