"""`slapos vm ssh|console`: getting into a machine."""

import argparse
import shlex
from collections.abc import Sequence
from typing import Any

from slap.cli.base import ClientCommand, Show
from slap.cli.service import find_member
from slap.model.errors import NotFound
from slap.model.instance import Instance
from slap.system import environment, process


class VmSsh(ClientCommand):
    """Log in on a machine by ssh, or run a command there."""

    def get_parser(self, name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(name)
        parser.add_argument("reference", metavar="NAME", help="the machine; CLUSTER/NAME is one of many")
        parser.add_argument("words", metavar="WORD", nargs=argparse.REMAINDER, help="for ssh: options, or a command")
        return parser

    def take_action(self, args: argparse.Namespace) -> None:
        command = shlex.split(_published(find_member(self.master(args), args.reference), "ssh-command"))
        ssh = environment.program("ssh", "openssh-client")
        process.become((ssh, *command[1:], *args.words), environment.whole())


class VmConsole(Show):
    """Show where the screen of a machine is seen in a browser, and what to log in with."""

    def get_parser(self, name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(name)
        parser.add_argument("reference", metavar="NAME", help="the machine; CLUSTER/NAME is one of many")
        return parser

    def take_action(self, args: argparse.Namespace) -> tuple[Sequence[str], Any]:
        machine = find_member(self.master(args), args.reference)
        names = ("console-url", "console-user", "console-password")
        return self.fields({name: _published(machine, name) for name in names})


def _published(machine: Instance, name: str) -> str:
    found = machine.connection.get(name)
    if not isinstance(found, str) or not found:
        raise NotFound(
            f"{machine.reference} does not say its {name}.",
            "It is no machine, or not ready, or was ordered without it.",
            f"slapos service info {machine.reference}",
        )
    return found
