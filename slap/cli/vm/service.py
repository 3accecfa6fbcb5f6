"""`slapos vm run|apply|stop`: what the services of a machine's partition call."""

import argparse
import os

from slap.cli.output import say
from slap.cli.vm.local import MachineCommand
from slap.node.vm import machine
from slap.system import environment, process

# It waits by reading the guest's console, which ends when qemu does. When a change needs the machine to be off for a moment,
# it is started again at once, and supervisord notices nothing.
_GUARDIAN = """\
trap 'kill $reader 2>/dev/null; exec "$0" vm stop "$@"' TERM INT
"$SOCAT" -u UNIX-CONNECT:var/vm/console.sock - &
reader=$!
wait $reader
[ ! -e var/vm/again ] || exec "$0" vm run "$@"
echo 'The machine ended.'
exit 1
"""


class VmRun(MachineCommand):
    """Run the machine of a partition, and wait beside it.

    A machine that runs already is left as it is. Told to end (SIGTERM), it ends the machine.
    """

    def take_action(self, args: argparse.Namespace) -> None:
        tools = self.tools(args)
        machine.run(tools)
        slapos = str(environment.own_program("slapos"))
        words = ("--partition", str(tools.folder.path), "--images", args.images, "--socat", args.socat)
        os.chdir(tools.folder.path)
        process.become(
            (_SHELL, "-c", _GUARDIAN, slapos, *words),
            {**environment.whole(), "SOCAT": args.socat},
        )


class VmApply(MachineCommand):
    """Make the machine of a partition what its parameters say now.

    Most changes are made while it runs. For the others it is shut down, and its service starts it again.
    """

    def take_action(self, args: argparse.Namespace) -> None:
        done = machine.apply(self.tools(args))
        for action in done.live:
            say(f"Done while it runs: {action}.")
        if done.restart:
            say(f"Restarted for {', '.join(done.restart)}.")


class VmKeep(MachineCommand):
    """Make the backup of the machine of a partition that is due; its schedule calls this."""

    def take_action(self, args: argparse.Namespace) -> None:
        point = machine.keep(self.tools(args))
        if point:
            say(f"Backup {point.name} is made: {point.size} bytes.")


class VmStop(MachineCommand):
    """Shut the machine of a partition down, by force when its guest does not listen."""

    def take_action(self, args: argparse.Namespace) -> None:
        machine.stop(self.tools(args))


_SHELL = "/bin/sh"
