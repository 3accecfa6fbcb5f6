"""Hostile archives that a trusted key signed: whatever they are, the node builds from source, and nothing of them is left."""

import hashlib
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path

import pytest

from slap.cache.trust.keys import read_key
from slap.cache.trust.sign import renewed, sign
from slap.model.cache import Blob, Entry, SignedEntry
from tests.unit.cache.archives import made_of, member, tar
from tests.unit.cache.crooked import CrookedCache, crooked_cache
from tests.unit.cache.test_archive_hostile import HOSTILE
from tests.unit.node.test_cache import World


@pytest.fixture
def shop() -> Iterator[CrookedCache]:
    with crooked_cache() as made:
        yield made


@pytest.fixture
def world(tmp_path: Path, shop: CrookedCache) -> World:
    made = World(tmp_path, shop)
    made.publish()
    return made


def exchange(shop: CrookedCache, world: World, archive: bytes) -> None:
    """Put another archive in the place of the one that was published, with all digests and the signature right."""
    (entries,) = shop.entries.values()
    published = SignedEntry.model_validate(entries[0])
    entry = Entry.model_validate_json(b64decode(published.payload))
    manifest, blobs = made_of(archive)
    encoded = manifest.encoded()
    blob = Blob(sha512=hashlib.sha512(encoded).hexdigest(), size=len(encoded))
    shop.blobs.update({**blobs, blob.sha512: encoded})
    changed = entry.model_copy(
        update={"manifest": blob, "size": manifest.size, "unpacked_size": manifest.unpacked_size}
    )
    key_file = world.tools.settings.key_file
    assert key_file
    signed = sign(renewed(changed, world.tools.now), read_key(key_file))
    entries[:] = [signed.model_dump(mode="json", by_alias=True)]


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_hostile_is_built_from_source(world: World, shop: CrookedCache, name: str) -> None:
    exchange(shop, world, HOSTILE[name])
    assert world.once().startswith("built from source: The archive ")
    assert len(world.builder.jobs) == 1
    assert world.left == {world.folder.name}
    assert {path.name for path in world.folder.iterdir()} == {"instance.cfg", ".installed.cfg", ".completed"}
    assert not list(world.config.software_root.parent.rglob("*evil*"))


def test_a_good_archive_in_its_place_is_taken(world: World, shop: CrookedCache) -> None:
    """Else the test above would pass for a wrong reason."""
    exchange(shop, world, tar(member(".installed.cfg"), member("instance.cfg", content=b"[buildout]\nparts =\n")))
    assert world.once().startswith("from cache, signed by builder (")
    assert not world.builder.jobs
