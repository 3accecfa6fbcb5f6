"""Software releases and supplies."""

import os.path
from datetime import datetime
from hashlib import md5
from typing import Any
from urllib.parse import unquote, urlsplit

from pydantic import Field

from slap.model.base import Frozen
from slap.model.errors import InvalidInput
from slap.model.state import ReportedSupplyState, SupplyState

DEFAULT_TYPE = "default"


class SoftwareType(Frozen):
    """One way to instantiate a release, with the JSON Schemas of what goes in and what comes out."""

    title: str = ""
    description: str = ""
    parameters_schema: dict[str, Any] = Field(default_factory=dict)
    connection_schema: dict[str, Any] = Field(default_factory=dict)


class SoftwareRelease(Frozen):
    """An immutable URL of a buildout profile, with what its software.cfg.json says (no types: nothing is checked)."""

    url: str
    title: str = ""
    description: str = ""
    types: dict[str, SoftwareType] = Field(default_factory=dict)


class SupplyRequest(Frozen):
    """Ask that a computer shall, or shall no longer, have a software release."""

    url: str
    computer: str
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


def software_id(url: str) -> str:
    """The name of a release's folder under the software root: the MD5 of its URL, as SlapOS has it."""
    return md5(url.encode(), usedforsecurity=False).hexdigest()


def normalise_release_url(text: str, folder: str) -> str:
    """The URL by which a release is known everywhere, from what somebody typed in `folder`.

    A local folder means the software.cfg in it; local paths become absolute; file:// is dropped.
    """
    if not text.strip():
        raise InvalidInput("The software release is empty.", resolution="Give the URL or the path of a software.cfg.")
    parts = urlsplit(text.strip())
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
