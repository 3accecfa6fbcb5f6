"""Connection parameters of a partition: published by its profile, and added by its service at run time."""

import json
from dataclasses import dataclass, field

from pydantic import TypeAdapter, ValidationError

from slap.model.errors import InvalidInput
from slap.model.node import PUBLISHED_FILE
from slap.model.values import Parameters, StoredParameters, first_reason
from slap.node.core.logs import log_refusal
from slap.node.core.store import InstanceRecord
from slap.node.partition.folder import PartitionFolder
from slap.node.partition.request_files import read_request

_PARAMETERS: TypeAdapter[Parameters] = TypeAdapter(Parameters)


@dataclass(frozen=True)
class Published:
    """Parameters that a service added, or a `fault`: the reason why they are not reported."""

    parameters: StoredParameters = field(default_factory=dict)
    fault: str = ""


def connection_of(published: Published, record: InstanceRecord) -> StoredParameters | None:
    """The connection parameters to report; None for a profile that publishes nothing."""
    added = published.parameters
    return {**added, **(record.connection or {})} if added else record.connection


def read_published(folder: PartitionFolder) -> Published:
    """The parameters that a partition's service wrote, validated as the master validates them."""
    try:
        text = read_request(folder, PUBLISHED_FILE)
        return Published(_PARAMETERS.validate_python(json.loads(text))) if text else Published()
    except InvalidInput as error:
        fault = str(error)
    except ValidationError as error:
        fault = f"{PUBLISHED_FILE}: {first_reason(error)}"
    except (ValueError, RecursionError) as error:
        fault = f"{PUBLISHED_FILE} is not JSON: {error}"
    log_refusal(folder.name, PUBLISHED_FILE, fault)
    return Published(fault=fault)
