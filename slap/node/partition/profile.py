"""The buildout profile of a partition: the release's template and the sections that profiles expect."""

import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote, urlsplit

from slap.model.errors import InvalidInput
from slap.model.node import DesiredInstance
from slap.node.core.file_names import check_file_name
from slap.system.trust.folders import read_below

_UNFIT = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
# A profile that chooses by the software type itself, by a recipe of SlapOS.
_CHOOSES = re.compile(r"slapos\.cookbook:(switch-)?softwaretype\b")


def find_template(software: Path, software_type: str) -> Path:
    """instance-TYPE.cfg of the release if it exists and instance.cfg does not choose by type; else instance.cfg.

    Old releases call that template.cfg.
    """
    check_file_name(Path(software_type))
    own, usual, old = (software / name for name in (f"instance-{software_type}.cfg", "instance.cfg", "template.cfg"))
    if own.parent == software and own.exists() and not _CHOOSES.search(read_below(software, usual.name)):
        return own
    return old if old.exists() and not usual.exists() else usual


def instance_profile(desired: DesiredInstance, template: str, options: Mapping[str, str]) -> str:
    """The buildout.cfg of a partition. It holds the partition's token, so nobody else may read it."""
    buildout = {
        "extends": template,
        "directory": options["directory"],
        "bin-directory": options["directory"] + "/sbin",
        "eggs-directory": options["software-path"] + "/eggs",
        "develop-eggs-directory": options["software-path"] + "/develop-eggs",
        "offline": "true",
        "newest": "false",
    }
    connection = _connection(desired, options)
    own = {"software-path": options["software-path"], "context": options["context"]}
    sections = {
        "buildout": buildout,
        "slap-connection": {**connection, **own},
        # As profiles from before 2012 have it.
        "slap_connection": {name.replace("-", "_"): value for name, value in connection.items()},
        "storage-configuration": {"storage-home": ""},
        "network-information": {"global-ipv4-network": ""},
    }
    return "\n".join(_section(name, section) for name, section in sections.items())


def with_credentials(url: str, name: str, token: str) -> str:
    """The master's URL with the token as password, for programs that know no tokens."""
    parts = urlsplit(url)
    if not token or "@" in parts.netloc:
        return url
    return parts._replace(netloc=f"{quote(name, safe='')}:{quote(token, safe='')}@{parts.netloc}").geturl()


def _connection(desired: DesiredInstance, options: Mapping[str, str]) -> dict[str, str]:
    return {
        "computer-id": options["computer-id"],
        "partition-id": desired.partition,
        "server-url": with_credentials(options["server-url"], desired.partition, desired.token),
        "software-release-url": desired.software_release,
        "key-file": options.get("key-file", ""),
        "cert-file": options.get("cert-file", ""),
        "shared-part-list": options.get("shared-part-list", ""),
        "build-time-part-list": "",
        "requested-state": desired.state.value,
    }


def _section(name: str, options: Mapping[str, str]) -> str:
    # The profile to extend is read before anything is substituted.
    # Buildout substitutes ${section:option} in every value, and reads $$ as $.
    texts = {
        key: _plain(value) if key == "extends" else _plain(value).replace("$", "$$") for key, value in options.items()
    }
    lines = [f"{key} = {value}".rstrip() for key, value in texts.items()]
    return "\n".join([f"[{name}]", *lines, ""])


def _plain(value: str) -> str:
    """A one-line value; raises InvalidInput for one that buildout would read as more options."""
    if _UNFIT.search(value):
        raise InvalidInput(
            f"{value[:200]!r} cannot stand in the profile of a partition.", "It has line ends or control characters."
        )
    return value
