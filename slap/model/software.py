"""Software releases and supplies."""

import os.path
from collections.abc import Container
from datetime import datetime
from hashlib import md5
from typing import Any
from urllib.parse import unquote, urlsplit

from pydantic import Field

from slap.model.base import Frozen
from slap.model.errors import InvalidInput
from slap.model.serialisation import Serialisation
from slap.model.state import ReportedSupplyState, SupplyState
from slap.model.values import Line

DEFAULT_TYPE = "default"
# What SlapOS called its default type before; releases and orders that say either mean the same.
FORMER_DEFAULT_TYPE = "RootSoftwareInstance"


class SoftwareType(Frozen):
    """One way to instantiate a release, with the JSON Schemas of what goes in and what comes out.

    Shared instances of a software type have schemas of their own, under a key of their own: `software_type` is then
    the type that serves them.
    """

    title: str = ""
    description: str = ""
    parameters_schema: dict[str, Any] = Field(default_factory=dict)
    connection_schema: dict[str, Any] = Field(default_factory=dict)
    shared: bool = False
    software_type: str = ""  # empty when it is the key
    serialisation: Serialisation = Serialisation.NONE  # how nodes and clients of SlapOS expect the parameters


class SoftwareRelease(Frozen):
    """An immutable URL of a buildout profile, with what its software.cfg.json says (no types: nothing is checked)."""

    url: str
    title: str = ""
    description: str = ""
    types: dict[str, SoftwareType] = Field(default_factory=dict)
    serialisation: Serialisation = Serialisation.NONE  # of the types that declare none

    def keys_of_types(self, shared: bool) -> dict[str, str]:
        """The software types that instances, or shared ones, can have, each with its key in `types`."""
        return {each.software_type or key: key for key, each in self.types.items() if each.shared == shared}

    def serialisation_of(self, software_type: str, shared: bool = False) -> Serialisation:
        """What is declared for a type, or for the whole release."""
        keys = self.keys_of_types(shared)
        described = described_type(software_type, keys)
        own = self.types[keys[described]].serialisation if described in keys else Serialisation.NONE
        return own or self.serialisation


class SupplyRequest(Frozen):
    """Ask that a computer shall, or shall no longer, have a software release."""

    url: Line
    computer: Line
    state: SupplyState = SupplyState.AVAILABLE


class Supply(Frozen):
    """A supply with what its node last reported of it; `message` tells what failed, `log` is the tail of the build log."""

    url: str
    computer: str
    requested: SupplyState
    reported: ReportedSupplyState = ReportedSupplyState.NONE
    is_current: bool = True  # whether what was reported is an answer to the last request
    message: str = ""
    log: str = ""
    changed_at: datetime


def described_type(name: str, known: Container[str]) -> str:
    """The name by which a release describes a type: the default type has two names, and either may be meant."""
    same = {DEFAULT_TYPE: FORMER_DEFAULT_TYPE, FORMER_DEFAULT_TYPE: DEFAULT_TYPE}.get(name, name)
    return same if name not in known and same in known else name


def software_id(url: str) -> str:
    """The name of a release's folder under the software root: the MD5 of its URL, as SlapOS has it."""
    return md5(url.encode(), usedforsecurity=False).hexdigest()


def normalise_release_url(text: str, folder: str) -> str:
    """The URL by which a release is known everywhere, from what somebody typed in `folder`.

    A local folder means the software.cfg in it; local paths become absolute; file:// is dropped.
    """
    if not text.strip():
        raise InvalidInput("The software release is empty.", resolution="Give the URL or the path of a software.cfg.")
    try:
        parts = urlsplit(text.strip())
    except ValueError as error:  # such as an address in brackets that is none
        raise InvalidInput(f"{text!r} is not a software release.", f"{error}.", "Correct the URL.") from error
    scheme = parts.scheme
    if scheme in ("http", "https"):
        return parts._replace(path=_profile_in(parts.path.rstrip("/"))).geturl()
    if scheme not in ("", "file"):
        raise InvalidInput(
            f"{text!r} is not a software release.",
            f"Scheme {scheme!r} is not known.",
            "Use a path, file:, http: or https:.",
        )
    path = unquote(parts.path) if scheme == "file" else text.strip()
    return _profile_in(os.path.normpath(os.path.join(folder, path)))


def _profile_in(path: str) -> str:
    return path if path.endswith(".cfg") else os.path.join(path, "software.cfg")
