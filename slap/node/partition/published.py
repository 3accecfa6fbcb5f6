"""The connection parameters of a partition: what its profile published, and what its service adds while it runs."""

import json

from slap.model.base import Parameters
from slap.model.errors import InvalidInput
from slap.model.node import PUBLISHED_FILE
from slap.node.logs import log_refusal
from slap.node.manager.wish import read_wish
from slap.node.partition.folder import PartitionFolder
from slap.node.store import InstanceRecord


def connection_of(folder: PartitionFolder, record: InstanceRecord) -> Parameters | None:
    """None for a profile that publishes nothing; what cannot be read is left out."""
    added = _added(folder)
    return {**added, **(record.connection or {})} if added else record.connection


def _added(folder: PartitionFolder) -> Parameters:
    try:
        text = read_wish(folder, PUBLISHED_FILE)
        found = json.loads(text) if text else {}
    except (InvalidInput, ValueError, RecursionError) as error:
        log_refusal(folder.name, PUBLISHED_FILE, error)
        return {}
    return found if isinstance(found, dict) else {}
