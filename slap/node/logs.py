"""The last lines of what runs in a partition, one program after the other."""

from slap.node.config import NodeConfig
from slap.system import files


def read_logs(config: NodeConfig, partition: str, lines: int) -> str:
    """The logs of a partition, the instantiation's first; each under a heading with its file's name."""
    found = sorted(
        (config.partition_logs / partition).glob("*.log"), key=lambda path: (path.name != "buildout.log", path.name)
    )
    texts = ((path.name, files.tail(path, lines)) for path in found)
    return "\n".join(f"==> {name} <==\n{text}\n" for name, text in texts if text)
