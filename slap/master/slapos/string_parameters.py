"""Instances with their parameters in the form that clients and nodes of SlapOS expect."""

from collections.abc import Sequence

from sqlalchemy import Connection

from slap.master.service.supply import releases_of
from slap.model.instance import Instance
from slap.model.serialisation import Serialisation, wrap
from slap.model.software import SoftwareRelease
from slap.model.values import Parameters


def worded(connection: Connection, instances: Sequence[Instance]) -> list[Instance]:
    """The same instances, all of their values as strings."""
    releases = releases_of(connection, {each.software_release for each in instances})
    return [each.model_copy(update=_strings(each, releases.get(each.software_release))) for each in instances]


def _strings(instance: Instance, release: SoftwareRelease | None) -> dict[str, Parameters]:
    """A release that only another master knows declares nothing here."""
    declared = release.serialisation_of(instance.software_type, instance.shared) if release else Serialisation.NONE
    return {
        "parameters": wrap(instance.parameters, declared, instance.serialisation),
        # Nothing is what is not published yet, and is not to be taken for an empty object that was.
        "connection": wrap(instance.connection, instance.published, declared) if instance.connection else {},
    }
