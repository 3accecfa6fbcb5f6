"""What is told of a release that a node really built, and that nobody else's word passes for it."""

import hashlib
import json
from pathlib import Path

from slap.cache.provenance.release import read_materials
from slap.cache.provenance.sbom import make_sbom
from slap.cache.trust.cache_key import CacheKey, release_folder
from slap.cache.trust.keys import generate_key, load_key
from slap.cache.trust.platform import this_platform
from slap.cache.trust.sign import LIFETIME, sign_entry
from slap.cache.trust.store import TrustedKey, TrustStore
from slap.cache.trust.verify import verify
from slap.model.cache import Blob, Entry, EntryKind
from tests.system.cloud import HELLOWORLD, small_cloud

PROFILE = """\
[buildout]
parts = tool instance
[tool]
recipe = slap:cmmi
path = {source}
configure-command =
[instance]
recipe = slap:template
output = ${{buildout:directory}}/instance.cfg
inline = [buildout]
"""
MAKEFILE = "all:\n\techo built > out\ninstall:\n\tmkdir -p $(DESTDIR)$(PREFIX)\n\tcp out $(DESTDIR)$(PREFIX)/out\n"
NOW = 1_800_000_000


def test_a_built_release_is_described_and_signed(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source/Makefile").write_text(MAKEFILE)
    own = tmp_path / "software.cfg"
    own.write_text(PROFILE.format(source=tmp_path / "source"))
    with small_cloud(1) as cloud:
        cloud.supply(HELLOWORLD)
        cloud.supply(own)
        folder = cloud.folder / "opt" / release_folder(str(HELLOWORLD))
        _described_anew_alike(folder)
        _signed_and_verified(folder, tmp_path)
        (used,) = read_materials(cloud.folder / "opt" / release_folder(str(own)))
        assert (used.part, used.material.name, used.material.url) == ("tool", "source", str(tmp_path / "source"))


def _described_anew_alike(folder: Path) -> None:
    sbom = make_sbom(folder, str(HELLOWORLD))
    assert make_sbom(folder, str(HELLOWORLD)) == sbom
    server = hashlib.sha256(HELLOWORLD.with_name("server.py").read_bytes()).hexdigest()
    told = {each["name"]: each["hashes"][0]["content"] for each in json.loads(sbom)["components"]}
    assert told["server.py"] == server


def _signed_and_verified(folder: Path, keys: Path) -> None:
    sbom = make_sbom(folder, str(HELLOWORLD))
    generate_key(keys / "key", "this machine")
    entry = Entry(
        kind=EntryKind.RELEASE,
        key=str(HELLOWORLD),
        root=str(folder.parent),
        folder=folder.name,
        platform=this_platform(),
        manifest=Blob(sha512="0" * 128, size=0),
        size=0,
        unpacked_size=0,
        built_at=NOW,
        version=NOW,
        expires_at=NOW + LIFETIME,
        builder="this machine",
        sbom=Blob(sha512=hashlib.sha512(sbom).hexdigest(), size=len(sbom)),
    )
    store = TrustStore(keys / "trust.sqlite")
    store.trust(TrustedKey(load_key(keys / "key").public))
    cache_key = CacheKey(str(HELLOWORLD), str(folder.parent), this_platform(), NOW)
    assert verify(sign_entry(entry, load_key(keys / "key")), store, cache_key).entry == entry
    store.close()
