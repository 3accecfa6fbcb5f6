"""Load the context of a partition, and connect to the master as that partition."""

from pathlib import Path

from slap.client.connect import connect
from slap.client.credentials import Credentials
from slap.client.identity import PartitionIdentity
from slap.client.master import Master
from slap.model.node import CONTEXT_FILE, PartitionContext


def read_context(partition: Path) -> PartitionContext:
    """Load the context that the agent wrote into a partition's folder."""
    return PartitionContext.model_validate_json((partition / CONTEXT_FILE).read_bytes())


def master_of(context: PartitionContext) -> Master:
    """Connect to the master as this partition, which sees only its own tree."""
    instance = context.instance
    name = "" if instance.reference == instance.root_reference else instance.reference
    identity = PartitionIdentity(context.computer, instance.partition, name)
    authority = Path(context.authority) if context.authority else None
    return connect(context.master_url, Credentials(instance.token, authority=authority), identity=identity)
