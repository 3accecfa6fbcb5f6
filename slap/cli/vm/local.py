"""What commands in a machine's partition share: where it is, and what it is worked with."""

import argparse
import shutil
import signal
import sys
from functools import partial
from pathlib import Path

from slap.cli.base import Command
from slap.model.errors import CommandFailed
from slap.node.core.kvm_probe import VERDICT, Prober
from slap.node.vm.backup_schedule import BackupScheduler
from slap.node.vm.backup_store import Backups, connect_vault
from slap.node.vm.folder import MachineFolder
from slap.node.vm.images import Images
from slap.node.vm.machine import Tools
from slap.node.vm.restore import MachineHistory
from slap.node.vm.start import MachineStarter
from slap.system import environment, process
from slap.system.disk.qemu_img import Past
from slap.system.libvirt.driver import open_driver
from slap.system.process import SystemRunner
from slap.system.processes import NODE_MARK, PARTITION_MARK


class MachineCommand(Command):
    """A command that a partition calls about its own machine, as its own user."""

    def run(self, args: argparse.Namespace) -> int:
        """Its output is a log: who reads it cannot see when it was said."""
        try:
            leave_root()
        except CommandFailed as error:
            return self._failed(error)
        # libvirt has a qemu tell what it can do, and ends it before it returns: so long whoever is told to end waits.
        signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
        return super().run(args)

    def get_parser(self, name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(name)
        parser.add_argument("--partition", metavar="FOLDER", default=".", help="the machine's partition (the current)")
        parser.add_argument("--images", metavar="FOLDER", required=True, help="where the node keeps images")
        parser.add_argument("--socat", metavar="FILE", default="socat", help="a socat to read the console with")
        return parser

    def tools(self, args: argparse.Namespace) -> Tools:
        folder = MachineFolder((self.folder / args.partition).resolve())
        images, runner = Images(self.folder / args.images, self.clock), SystemRunner()
        root = environment.variable(NODE_MARK)
        shared = Path(root) / "run/machines" if root else None
        marks = {PARTITION_MARK: str(folder.path), **({NODE_MARK: root} if root else {})}
        past = Past(runner)
        driver = partial(open_driver, folder.driver, shared=shared / "capabilities" if shared else None)
        backups = Backups(folder.path, past, connect_vault)
        return Tools(
            folder=folder,
            images=images,
            maker=MachineStarter(folder, images, runner),
            prober=Prober(runner, folder.driver / VERDICT, shared / VERDICT if shared else None),
            clock=self.clock,
            environment=marks,
            driver=driver,
            keeper=BackupScheduler(
                folder.path,
                MachineHistory(folder.path, past, backups),
                self.clock,
                driver,
            ),
        )


def leave_root() -> None:
    """libvirt takes root for the master of the whole machine, so root becomes a user of its own kind.

    It is nobody in particular in a user namespace, and still the owner of the partition's files.
    """
    if not environment.is_root():
        return
    unshare = ("unshare", "--user", "--map-user=1000", "--map-group=1000", "--")
    env = environment.whole()
    tried = SystemRunner().run(process.Command((*unshare, "true"), env=env, timeout=10))
    if tried.status != 0:
        raise CommandFailed(
            "Machines are not run by root here.",
            f"The kernel grants no user namespace: {tried.stderr.strip()}",
            "Set alter_user = true in slapos.cfg, so that each partition has a user, or run the node as a user.",
        )
    program = shutil.which(unshare[0], path=environment.CLEAN_PATH) or unshare[0]
    process.become((program, *unshare[1:], sys.executable, *sys.argv), env)
