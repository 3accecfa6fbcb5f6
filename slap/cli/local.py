"""What commands about this very node share: finding its slapos.cfg."""

import argparse
from pathlib import Path

from slap.cli.base import Command
from slap.client.config import SYSTEM_FILE
from slap.model.errors import NotFound
from slap.node.core.config import NodeConfig, read
from slap.system import environment

VARIABLE = "SLAPOS_CONFIGURATION"


class NodeCommand(Command):
    """A command about the node that a slapos.cfg describes."""

    def get_parser(self, name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(name)
        parser.add_argument("--cfg", metavar="FILE", help="the node's slapos.cfg (found in the usual places)")
        return parser

    def cfg(self, args: argparse.Namespace) -> Path:
        return find_cfg(args.cfg or "", self.folder)

    def config(self, args: argparse.Namespace) -> NodeConfig:
        return read(self.cfg(args))


def find_cfg(named: str, folder: Path) -> Path:
    """The configuration that was named, or the first of the usual ones that exists."""
    if named := named or environment.variable(VARIABLE):
        return folder / named
    for path in usual_files(folder):
        if path.exists():
            return path
    raise NotFound(
        "This computer has no node.",
        "There is no slapos.cfg in the usual places, and --cfg names none.",
        "Type `slapos node register`.",
    )


def usual_files(folder: Path) -> list[Path]:
    """Where slapos.cfg is looked for, the nearest first."""
    standalone = [each / "var/standalone/etc/slapos.cfg" for each in (folder, *folder.parents)]
    return [*standalone, Path.home() / "slapos/etc/slapos.cfg", SYSTEM_FILE]
