"""Instances with their parameters in the form that clients and nodes of SlapOS expect."""

from collections.abc import Collection, Sequence

from sqlalchemy import Connection, bindparam, select

from slap.master.database.tables import release
from slap.master.schema.parameters import known_release
from slap.model.instance import Instance
from slap.model.serialisation import Serialisation, wrap
from slap.model.software import SoftwareRelease
from slap.model.values import Parameters

_RELEASES = select(release.c.url, release.c.document).where(release.c.url.in_(bindparam("urls", expanding=True)))


def worded(connection: Connection, instances: Sequence[Instance]) -> list[Instance]:
    """The same instances, all of their values as strings."""
    releases = releases_of(connection, {each.software_release for each in instances})
    return [each.model_copy(update=_strings(each, releases.get(each.software_release))) for each in instances]


def releases_of(connection: Connection, urls: Collection[str]) -> dict[str, SoftwareRelease]:
    """Releases by their URLs, in one look-up."""
    rows = connection.execute(_RELEASES, {"urls": sorted(urls)}).all() if urls else ()
    return {row.url: known_release(row.document).release for row in rows}


def _strings(instance: Instance, release: SoftwareRelease | None) -> dict[str, Parameters]:
    """A release that only another master knows declares nothing here."""
    declared = release.serialisation_of(instance.software_type, instance.shared) if release else Serialisation.NONE
    return {
        "parameters": wrap(instance.parameters, declared, instance.serialisation),
        # Nothing is what is not published yet, and is not to be taken for an empty object that was.
        "connection": wrap(instance.connection, instance.published, declared) if instance.connection else {},
    }
