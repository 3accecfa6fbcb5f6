"""Python packages of a release: isolated from the node's own, with version pins of SlapOS profiles.

SlapOS pins packages that only its own index has: a patched buildout (3.0.1+slapos004), and eggs that are patched on the fly
(1.2+SlapOSPatched001). Here the buildout is the node's, and a patched egg is the plain one of that version.
"""

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pkg_resources
import zc.buildout.buildout
from packaging.utils import canonicalize_name
from zc.buildout import easy_install

log = logging.getLogger("zc.buildout")

# What runs the build cannot be replaced while it runs.
_OURS = frozenset({"zc-buildout", "zc-recipe-egg", "setuptools", "pip", "wheel"})
_SLAPOS = re.compile(r"\+(slapos|nxd)[0-9a-z.]*", re.IGNORECASE)
# The first one restarts buildout with a Python of the release's own, which a fork of the node cannot become; zc.buildout
# can do by itself what the others were for.
_NOT_LOADED = frozenset({"slapos.rebootstrap", "buildout-versions", "buildout.dumppickedversions"})
_stock_normalize = easy_install.normalize_versions
_stock_install = easy_install.install
_stock_hash = zc.buildout.buildout._dir_hash


def speak() -> None:
    # The node's packages are not those of a release: what a release needs is installed into its own eggs-directory.
    easy_install.buildout_and_setuptools_path = []
    easy_install.normalize_versions = pins
    easy_install.install = _install
    zc.buildout.buildout._dir_hash = _hash_of


def pins(versions: Mapping[str, Any]) -> dict[str, str]:
    """The pins that can be kept, by canonical names."""
    stated = {name: str(version) for name, version in _stock_normalize(versions).items()}
    return {name: _plain_version(name, version) for name, version in stated.items() if name not in _OURS}


def extensions(stated: str) -> str:
    """The extensions of a profile that are loaded."""
    left_out = sorted(_NOT_LOADED & set(stated.split()))
    if left_out:
        log.info("Not loaded, for the node does without: %s.", ", ".join(left_out))
    return "\n".join(name for name in stated.split() if name not in _NOT_LOADED)


def _install(specs: Any, dest: str | None, *more: Any, **options: Any) -> Any:
    """Install packages. Recipes and extensions share this process, so they get what is already loaded.

    Without `dest` nothing is to be installed, so no index is asked; and packages are found as they are laid down, which
    zc.buildout only does where it installs.
    """
    if dest is None:
        options["allow_hosts"] = ()
        options["path"] = [
            place
            for folder in options.get("path") or ()
            for place in (folder, *sorted(str(path.parent) for path in Path(folder).glob("*/*.dist-info")))
        ]
    loaded = options.get("working_set")
    if loaded is pkg_resources.working_set:
        stated = options.get("versions")
        stated = easy_install.default_versions() if stated is None else stated
        present = {canonicalize_name(name) for name in loaded.by_key}
        options["versions"] = {name: stated[name] for name in stated if canonicalize_name(name) not in present}
    return _stock_install(specs, dest, *more, **options)


def _hash_of(folder: str) -> str:
    """The hash of a package's folder; for an egg its name, which holds the version."""
    name = Path(folder).name
    return name if name.endswith(".egg") else str(_stock_hash(folder))


def _plain_version(name: str, version: str) -> str:
    plain = _SLAPOS.sub("", version)
    if plain != version:
        log.warning("%s %s is only at Nexedi: %s is taken, without the patches.", name, version, plain)
    return plain
