"""The bill of materials of a built release: CycloneDX 1.6 as JSON. The same build always gives the same bytes."""

import hashlib
import json
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from slap.cache.provenance.release import Used, read_materials
from slap.model.cache.material import Material, MaterialKind, plain_url

_SPACE = uuid.UUID("7ba9c2be-95c3-5d0c-8f0f-1d6b0d5d5f0a")  # of the serial numbers that are made here
_ALGORITHMS = {"md5": "MD5", "sha1": "SHA-1", "sha256": "SHA-256", "sha384": "SHA-384", "sha512": "SHA-512"}
_LIBRARIES = {MaterialKind.DEB, MaterialKind.DEB_SOURCE, MaterialKind.WHEEL, MaterialKind.NPM, MaterialKind.GIT}

Json = dict[str, Any]


def make_sbom(folder: Path, url: str, distribution: str = "debian") -> bytes:
    """What is in the release of this URL that was built in a folder, on a machine of this distribution."""
    return bill(read_materials(folder), url, distribution)


def bill(used: Iterable[Used], url: str, distribution: str = "debian") -> bytes:
    """No times and no random numbers are in it: the serial number is made of the content."""
    components = _components(used, distribution)
    release = {"type": "application", "bom-ref": "release", "name": plain_url(url)}
    document: Json = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": release},
        "components": components,
        "dependencies": [{"ref": "release", "dependsOn": [each["bom-ref"] for each in components]}],
    }
    serial = uuid.uuid5(_SPACE, hashlib.sha512(encoded(document)).hexdigest())
    return encoded(document | {"serialNumber": f"urn:uuid:{serial}"})


def encoded(document: Json) -> bytes:
    """JSON with one way to be written."""
    return json.dumps(document, sort_keys=True, indent=1, ensure_ascii=False).encode() + b"\n"


def package_url(material: Material, distribution: str = "debian") -> str:
    """The material's name in the form that scanners look up (purl); empty for what has none."""
    name, version = _quoted(material.name), _quoted(material.version)
    if material.kind is MaterialKind.DEB:
        return f"pkg:deb/{distribution}/{name}@{version}?arch={material.architecture}"
    if material.kind is MaterialKind.DEB_SOURCE:
        return f"pkg:deb/{distribution}/{name}@{version}?arch=source"
    if material.kind is MaterialKind.WHEEL:
        return f"pkg:pypi/{name.lower().replace('_', '-')}@{version}"
    if material.kind is MaterialKind.NPM:
        return f"pkg:npm/{quote(material.name, safe='/')}@{version}"
    if material.kind is MaterialKind.GIT:
        place = f"?vcs_url={quote(f'git+{material.url}@{material.version}', safe=':/')}"
        return f"pkg:generic/{name}@{version}{place if _is_reference(material.url) else ''}"
    return ""


def _components(used: Iterable[Used], distribution: str) -> list[Json]:
    """Each material once, with the names of the parts that it is in."""
    parts: dict[str, set[str]] = {}
    found: dict[str, Json] = {}
    for each in used:
        component = _component(each.material, distribution)
        reference = hashlib.sha256(encoded(component)).hexdigest()[:24]
        found[reference] = component | {"bom-ref": reference}
        parts.setdefault(reference, set()).add(each.part)
    whole = [component | _properties(parts[reference]) for reference, component in found.items()]
    return sorted(whole, key=lambda each: (each["type"], each["name"], each.get("version", ""), each["bom-ref"]))


def _component(material: Material, distribution: str) -> Json:
    hashes = [
        {"alg": _ALGORITHMS[name], "content": digest}
        for name, digest in sorted(material.digests.items())
        if name in _ALGORITHMS
    ]
    fields: Json = {
        "type": "library" if material.kind in _LIBRARIES else "file",
        "name": material.name,
        "version": material.version,
        "purl": package_url(material, distribution),
        "hashes": hashes,
        "licenses": [{"license": {"name": material.license}}] if material.license else [],
        "externalReferences": [{"type": "distribution", "url": material.url}] if _is_reference(material.url) else [],
    }
    return {name: value for name, value in fields.items() if value}


def _properties(parts: set[str]) -> Json:
    named = [{"name": "slap:part", "value": part} for part in sorted(parts) if part]
    return {"properties": named} if named else {}


def _is_reference(url: str) -> bool:
    return "://" in url


def _quoted(text: str) -> str:
    """As purl wants it: a colon stands for itself."""
    return quote(text, safe=":")
