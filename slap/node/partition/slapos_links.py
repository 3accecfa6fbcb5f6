"""Links from SlapOS's places of supervisord's files to ours, for operators and their tools."""

import logging
import time
from pathlib import Path

from slap.model.errors import Conflict
from slap.node.core.config import NodeConfig
from slap.system.supervisor import answers, is_ending

log = logging.getLogger(__name__)

# Seconds for the services of a supervisord that was told to end.
_PATIENCE = 60.0


def links(config: NodeConfig) -> dict[Path, Path]:
    """The target of each link."""
    root, instances = config.root, config.instance_root
    return {
        instances / "sv.sock": config.supervisor_socket,
        instances / "etc/supervisord.conf": root / "etc/supervisord.conf",
        instances / "etc/supervisord.conf.d": config.supervisor_folder,
        instances / "var/log/supervisord.log": config.log / "supervisord.log",
        instances / "var/run/supervisord.pid": config.run / "supervisord.pid",
    }


def link_layout(config: NodeConfig) -> None:
    """Make missing links. Raises Conflict while SlapOS's own supervisord runs; its files stay."""
    for socket in (config.instance_root / "sv.sock", config.instance_root / "supervisord.socket"):
        if socket.is_socket() and not socket.is_symlink() and _goes_on(socket):
            raise Conflict(
                "The supervisord of a SlapOS node runs here.",
                f"It listens on {socket}; both would start the same services.",
                f"Type `supervisorctl -s unix://{socket} shutdown` first.",
            )
    for link, target in links(config).items():
        # Only what operators look at: that it cannot be made keeps nobody from working.
        try:
            link.parent.mkdir(parents=True, exist_ok=True)
            if link.is_socket() and not link.is_symlink():  # of one that is gone
                link.unlink()
            if not link.is_symlink() and not link.exists():
                link.symlink_to(target)
        except OSError as error:
            log.warning("%s: %s", link, error.strerror)


def _goes_on(socket: Path) -> bool:
    """Whether supervisord still answers after the time that it takes to end."""
    deadline = time.monotonic() + _PATIENCE
    while answers(socket):
        if time.monotonic() > deadline or not is_ending(socket):
            return answers(socket)  # it may have ended between the two questions
        time.sleep(0.05)
    return False
