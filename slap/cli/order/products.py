"""Releases by a short name: `product.kvm` is the one known release of that name."""

from collections.abc import Iterable

from slap.cli.output import short_release
from slap.client.master import Master
from slap.model.errors import InvalidInput, NotFound
from slap.model.software import SoftwareRelease

PREFIX = "product."


def resolve(master: Master, text: str) -> str:
    """The URL that is meant by what somebody typed for a release; the master is asked for products only."""
    return choose(text.removeprefix(PREFIX), master.releases()) if text.startswith(PREFIX) else text


def choose(name: str, releases: Iterable[SoftwareRelease]) -> str:
    """The URL of the only release with that title, or in a folder of that name."""
    known = list(releases)
    found = [each.url for each in known if name in (each.title, short_release(each.url))]
    if len(found) == 1:
        return found[0]
    if found:
        raise InvalidInput(f"{PREFIX}{name} may be several releases.", "\n".join(found), "Give the URL of one.")
    names = ", ".join(sorted({short_release(each.url) for each in known})) or "none"
    raise NotFound(f"There is no release {name}.", f"Known are: {names}.", "Give its URL instead.")
