"""Where `slapos node` commands log."""

import logging
from logging.handlers import RotatingFileHandler
from pathlib import Path

from slap.node.core.config import NodeConfig
from slap.system.trust.terminal import LogFormatter

_FORMAT = "%(asctime)s %(levelname)s %(message)s"
# Which file under log/ gets the lines of which module; all others go to that of the instances.
_LOGS = {
    "slap.node.software.reconciler": "software",
    "slap.node.core.report": "report",
    "slap.node.format.plan": "format",
    "slap.node.refused": "refused",
}


def log_to_files(config: NodeConfig) -> None:
    """One file for each kind of work, rotated, as SlapOS has them: slapos-node-software.log and so on."""
    logging.raiseExceptions = False  # a log that cannot be written, on a full disk, is no reason to fill another one
    root = logging.getLogger("slap.node")
    root.setLevel(logging.INFO)
    root.addHandler(_handler(config.log / "slapos-node-instance.log"))
    for module, name in _LOGS.items():
        logging.getLogger(module).addHandler(_handler(config.log / f"slapos-node-{name}.log"))


def _handler(path: Path) -> logging.Handler:
    handler = RotatingFileHandler(path, maxBytes=10_000_000, backupCount=3, delay=True)
    handler.setFormatter(LogFormatter(_FORMAT))
    return handler
