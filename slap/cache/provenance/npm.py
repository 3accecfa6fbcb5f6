"""What npm installed, as it writes into node_modules/.package-lock.json."""

import binascii
from base64 import b64decode

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from slap.model.cache.material import Material, MaterialKind

_ALGORITHMS = ("sha512", "sha384", "sha256", "sha1")  # the best one first


class _Package(BaseModel):
    model_config = ConfigDict(extra="ignore")

    name: str = ""
    version: str = ""
    integrity: str = ""
    license: str | object = ""


class _Lock(BaseModel):
    model_config = ConfigDict(extra="ignore")

    packages: dict[str, _Package] = Field(default_factory=dict)


def npm_packages(text: str) -> tuple[Material, ...]:
    """The packages of a lock; none for a text that is no lock. Which registry they came from is the machine's business."""
    try:
        lock = _Lock.model_validate_json(text or "{}")
    except ValidationError:
        return ()
    return tuple(_material(path, package) for path, package in lock.packages.items() if path and package.version)


def _material(path: str, package: _Package) -> Material:
    return Material(
        kind=MaterialKind.NPM,
        name=package.name or path.rpartition("node_modules/")[2],
        version=package.version,
        license=package.license if isinstance(package.license, str) else "",
        digests=_digests(package.integrity),
    )


def _digests(integrity: str) -> dict[str, str]:
    """Subresource integrity, as in `sha512-BASE64`, told in hexadecimal digits."""
    words = dict(word.partition("-")[::2] for word in integrity.split())
    best = next((name for name in _ALGORITHMS if name in words), "")
    try:
        return {best: b64decode(words[best], validate=True).hex()} if best else {}
    except (binascii.Error, ValueError):
        return {}
