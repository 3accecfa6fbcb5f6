"""What the last `slapos node format` made: the partitions of this computer and their addresses."""

from pydantic import ValidationError

from slap.model.computer import ComputerConfiguration
from slap.model.errors import NotFound
from slap.node.core.config import NodeConfig

FORMATTED = "etc/partitions.json"


def read_format(config: NodeConfig) -> ComputerConfiguration:
    """What the last `slapos node format` made."""
    path = config.root / FORMATTED
    try:
        return ComputerConfiguration.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError) as error:
        raise NotFound("This node was not formatted.", f"{path}: {error}", "Type `slapos node format` first.") from None
