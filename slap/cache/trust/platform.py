"""What kind of machine this is, as far as it decides whether something built elsewhere runs here."""

import os
import platform
import sys
from collections.abc import Mapping

from slap.model.cache import Platform
from slap.system.environment import open_python


def this_platform() -> Platform:
    """The platform of the machine and of the Python that runs us."""
    try:
        release = platform.freedesktop_os_release()
    except OSError:  # a system so bare that it does not say what it is
        release = {}
    return Platform(
        os=release.get("ID") or sys.platform,
        version=version_of(release) or platform.release(),
        libc=libc(),
        machine=platform.machine(),
        python=python(),
    )


def version_of(release: Mapping[str, str]) -> str:
    """The number of the release, or its name where there is no number yet, as in Debian's testing."""
    return release.get("VERSION_ID") or release.get("VERSION_CODENAME") or release.get("BUILD_ID") or ""


def libc() -> str:
    """Name and version: what was linked against a newer one does not start with an older one."""
    try:
        found = os.confstr("CS_GNU_LIBC_VERSION")
    except (ValueError, OSError):  # not the GNU one
        found = None
    return found or " ".join(filter(None, platform.libc_ver())) or "unknown"


def python() -> str:
    """The kind of Python, and the paths of it that builds embed: in buildout's scripts, and in virtual environments."""
    return " ".join([str(sys.implementation.cache_tag), *dict.fromkeys((sys.executable, str(open_python())))])
