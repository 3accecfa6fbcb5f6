"""`slapos vm ssh|console`: getting into a machine."""

import argparse
import re
from collections.abc import Sequence
from typing import Any

from slap.cli.base import ClientCommand, Show
from slap.cli.find import find_member
from slap.model.errors import InvalidInput, NotFound
from slap.model.instance import Instance
from slap.system import environment, process
from slap.system.network.addresses import plain_address

_SSH = re.compile(r"ssh -p (?P<port>[0-9]{1,5}) root@(?P<address>[0-9A-Fa-f:.]+)")


class VmSsh(ClientCommand):
    """Log in on a machine by ssh, or run a command there."""

    def get_parser(self, name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(name)
        parser.add_argument("reference", metavar="NAME", help="the machine; CLUSTER/NAME is one of many")
        parser.add_argument("words", metavar="WORD", nargs=argparse.REMAINDER, help="for ssh: options, or a command")
        return parser

    def take_action(self, args: argparse.Namespace) -> None:
        published = _published(find_member(self.master(args), args.reference), "ssh-command")
        ssh = environment.program("ssh", "openssh-client")
        process.become((ssh, *ssh_words(args.reference, published), *args.words), environment.whole())


def ssh_words(reference: str, published: str) -> tuple[str, ...]:
    """Arguments for ssh, of what a service says. Raises InvalidInput for what is no machine's: ssh's options run programs."""
    match = _SSH.fullmatch(published)
    try:
        if match and 0 < int(match["port"]) < 1 << 16:
            return ("-p", match["port"], f"root@{plain_address(match['address'])}")
    except ValueError:  # no address
        pass
    raise InvalidInput(
        f"{reference} does not say how to log in on a machine.", f"It says {published!r:.200}.",
        "If you trust it, type that yourself.",
    )  # fmt: skip


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
