"""Who built what from what: an in-toto Statement with the provenance of SLSA, version 1. Its digest is in the entry."""

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote

from slap.cache.provenance.release import Used
from slap.cache.provenance.sbom import Json, encoded, package_url
from slap.model.cache import Platform
from slap.model.cache.material import Material, plain_url

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "urn:slap:build:buildout:1"


@dataclass(frozen=True)
class Build:
    """A build that was done. `fingerprint` is of the profiles that it read, as the node has it in its marker."""

    url: str
    root: str
    folder: str
    platform: Platform
    builder: str
    started_at: int
    finished_at: int
    fingerprint: str = ""
    software: str = ""  # what ran buildout: "slap 0.1.0"


def make_provenance(build: Build, subjects: dict[str, str], used: Iterable[Used]) -> bytes:
    """The statement that the subjects (SHA-512 by name: of the manifest, of the bill of materials) came of this build."""
    materials = dict.fromkeys(encoded(_resource(each.material, build.platform.os)) for each in used)
    document: Json = {
        "_type": STATEMENT,
        "subject": [{"name": name, "digest": {"sha512": digest}} for name, digest in sorted(subjects.items())],
        "predicateType": PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {"softwareRelease": plain_url(build.url)},
                "internalParameters": {
                    "root": build.root,
                    "folder": build.folder,
                    "platform": build.platform.model_dump(),
                },
                "resolvedDependencies": [_profile(build), *map(_decoded, sorted(materials))],
            },
            "runDetails": {
                "builder": {"id": builder_uri(build.builder), "version": {"slap": build.software}},
                "metadata": {"startedOn": _time(build.started_at), "finishedOn": _time(build.finished_at)},
            },
        },
    }
    return encoded(document)


def builder_uri(builder: str) -> str:
    """SLSA wants a URI; a name becomes one."""
    return builder if builder.startswith(("https://", "http://", "urn:")) else f"urn:slap:builder:{quote(builder)}"


def _profile(build: Build) -> Json:
    fingerprint = {"annotations": {"fingerprint": build.fingerprint}} if build.fingerprint else {}
    return {"uri": plain_url(build.url), **fingerprint}


def _resource(material: Material, distribution: str) -> Json:
    """A resource descriptor: what it is called, where it was, and its digests."""
    uri = package_url(material, distribution) or material.url
    fields: Json = {"name": material.name, "uri": uri, "digest": dict(sorted(material.digests.items()))}
    return {name: value for name, value in fields.items() if value}


def _decoded(text: bytes) -> Json:
    found: Json = json.loads(text)
    return found


def _time(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
