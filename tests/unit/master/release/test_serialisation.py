"""What software.cfg.json declares of the form of parameters."""

import json
from pathlib import Path

import pytest

from slap.master.release.read import Limits as ReadLimits
from slap.master.release.read import read_release
from slap.master.schema.limits import SchemaLimits
from slap.model.errors import BrokenRelease
from slap.model.serialisation import Serialisation
from slap.model.software import SoftwareRelease
from slap.system.network.documents import DocumentReader, Limits, Sources


def declaring(folder: Path, **more: str) -> str:
    (folder / "software.cfg").write_text("[buildout]\nparts =\n")
    types = {"default": {"title": "Default"}, "json": {"title": "JSON", "serialisation": "json-in-xml"}}
    document = {"name": "web", "software-type": types, **more}
    (folder / "software.cfg.json").write_text(json.dumps(document))
    return str(folder / "software.cfg")


def read(url: str) -> SoftwareRelease:
    return read_release(
        url, DocumentReader(Sources(as_myself=True), Limits()), ReadLimits(1 << 20, SchemaLimits())
    ).release


def test_it_is_read_for_the_release_and_for_each_type(tmp_path: Path) -> None:
    release = read(declaring(tmp_path, serialisation="xml"))
    assert release.serialisation_of("default") is Serialisation.FLAT
    assert release.serialisation_of("json") is Serialisation.JSON
    assert read(declaring(tmp_path)).serialisation_of("default") is Serialisation.NONE


def test_one_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(BrokenRelease, match="does not describe") as caught:
        read(declaring(tmp_path, serialisation="yaml"))
    assert "serialisation: Input should be" in caught.value.details
