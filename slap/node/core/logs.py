"""Last lines of logs for remote users, and the log of refused input."""

import logging
import re
from pathlib import Path

from slap.node.core.config import NodeConfig
from slap.system import files

# Of what partitions handed over and the node refused: slapos-node-refused.log.
refusals = logging.getLogger("slap.node.refused")
_MAX_REASON_LENGTH = 500  # characters

# Where in Python's code something went wrong; the line after it says what did.
_FRAMES = re.compile(r"^Traceback \(most recent call last\):\n(?:[ \t]+.*\n)*", re.MULTILINE)
# What buildout says of folders, and we of the release: who ordered it knows.
_NOISE = re.compile(r"^(?:Building .* in .*|Creating directory '.*')\.?\n", re.MULTILINE)


def build_words(path: Path, message: str, lines: int) -> str:
    """The last lines of a build's log, without tracebacks and without the message, which is shown beside it."""
    text = _NOISE.sub("", _FRAMES.sub("", files.tail(path, 4 * lines) + "\n"))
    text = text.strip().removesuffix(message).rstrip()
    return "\n".join([*text.splitlines()[-lines:], f"The whole log: {path}"])


def read_logs(config: NodeConfig, partition: str, lines: int) -> str:
    """The logs of a partition, the instantiation's first; each under a heading with its file's name."""
    found = sorted(
        (config.partition_logs / partition).glob("*.log"), key=lambda path: (path.name != "buildout.log", path.name)
    )
    texts = ((path.name, files.tail(path, lines)) for path in found)
    return "\n".join(f"==> {name} <==\n{text}\n" for name, text in texts if text)


def log_refusal(partition: str, subject: str, reason: object) -> None:
    """Log in one line what a partition handed over and why it is refused; the reason may quote it, so it is escaped."""
    words = " ".join(str(reason).split())[:_MAX_REASON_LENGTH]
    refusals.warning("%s: refused %s: %s", partition, subject, words.encode("unicode_escape").decode())
