"""Hostile archives that a trusted key signed: whatever they are, the node builds from source, and nothing of them is left."""

import hashlib
from base64 import b64decode
from pathlib import Path

import pytest

from slap.cache.trust.keys import load_key
from slap.cache.trust.sign import renew_entry, sign_entry
from slap.model.cache import Blob, Entry, SignedEntry
from slap.model.cache.manifest import LARGEST_MANIFEST
from tests.unit.cache.archives import made_of, member, tar
from tests.unit.cache.crooked import CrookedCache
from tests.unit.cache.test_archive_hostile import HOSTILE
from tests.unit.node.software.test_cached_releases import World

GOOD = tar(member(".installed.cfg"), member("instance.cfg", content=b"[buildout]\nparts =\n"))


@pytest.fixture
def world(tmp_path: Path, shop: CrookedCache) -> World:
    made = World(tmp_path, shop)
    made.publish()
    return made


def exchange(shop: CrookedCache, world: World, archive: bytes, **claims: object) -> None:
    """Put another archive in the place of the one that was published, with all digests and the signature right; the
    entry may claim something else all the same."""
    (entries,) = shop.entries.values()
    published = SignedEntry.model_validate(entries[0])
    entry = Entry.model_validate_json(b64decode(published.payload))
    manifest, blobs = made_of(archive)
    encoded = manifest.encoded()
    blob = Blob(sha512=hashlib.sha512(encoded).hexdigest(), size=len(encoded))
    shop.blobs.update({**blobs, blob.sha512: encoded})
    honest = {"manifest": blob, "size": manifest.size, "unpacked_size": manifest.unpacked_size}
    changed = entry.model_copy(update={**honest, **claims})
    key_file = world.tools.settings.key_file
    assert key_file
    signed = sign_entry(renew_entry(changed, world.tools.now), load_key(key_file))
    entries[:] = [signed.model_dump(mode="json", by_alias=True)]


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_hostile_is_built_from_source(world: World, shop: CrookedCache, name: str) -> None:
    exchange(shop, world, HOSTILE[name])
    assert world.once().startswith("built from source: The archive ")
    assert len(world.builder.jobs) == 1
    assert world.left == {world.folder.name}
    assert {path.name for path in world.folder.iterdir()} == {"instance.cfg", ".installed.cfg", ".completed"}
    assert not list(world.config.software_root.parent.rglob("*evil*"))


@pytest.mark.parametrize(
    ("claims", "words"),
    [
        ({"size": 17}, "do not belong together"),
        ({"unpacked_size": 17}, "do not belong together"),
        ({"manifest": Blob(sha512="0" * 128, size=LARGEST_MANIFEST + 1)}, "is not read"),
    ],
)
def test_what_claims_another_size_is_built_from_source(
    world: World, shop: CrookedCache, claims: dict[str, object], words: str
) -> None:
    exchange(shop, world, GOOD, **claims)
    before = len(shop.asked)
    said = world.once()
    assert said.startswith("built from source: ") and words in said
    assert not any("/blobs/" + "0" * 128 in asked for asked in shop.asked[before:])
    assert world.left == {world.folder.name}


def test_a_good_archive_in_its_place_is_taken(world: World, shop: CrookedCache) -> None:
    """Else the tests above would pass for a wrong reason."""
    exchange(shop, world, GOOD)
    assert world.once().startswith("from cache, signed by builder (")
    assert not world.builder.jobs


def test_a_cache_cannot_lead_back_to_what_was_replaced(world: World, shop: CrookedCache) -> None:
    """The node itself remembers what it took, also when the release is gone meanwhile."""
    (entries,) = shop.entries.values()
    older = list(entries)
    exchange(shop, world, GOOD)
    assert world.once().startswith("from cache")
    world.forget()
    entries[:] = older
    assert "older than one that was seen before" in world.once()
    assert len(world.builder.jobs) == 1
