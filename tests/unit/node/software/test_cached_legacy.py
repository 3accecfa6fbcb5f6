"""Caches that speak SlapOS's protocol alone: their builds are taken when the operator opted in to their key."""

import hashlib
import io
import json
import tarfile
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from slap.cache.trust.platform import this_platform
from slap.cache.trust.slapos_entry import multiarch, parse_slapos_key
from slap.model.software import software_id
from tests.unit.cache.crooked import CrookedCache, crooked_cache
from tests.unit.node.software.test_cached_releases import World
from tests.unit.node.things import URL

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PEM = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
RELEASE = {"instance.cfg": "[buildout]\nparts =\n", ".installed.cfg": "[buildout]\n", ".completed": "2026-01-01"}


@pytest.fixture
def shop() -> Iterator[CrookedCache]:
    with crooked_cache() as made:
        made.is_ours = False
        yield made


@pytest.fixture
def world(tmp_path: Path, shop: CrookedCache) -> World:
    world = World(tmp_path, shop)
    put(shop, world, packed({f"{software_id(URL)}/{name}": text for name, text in RELEASE.items()}))
    return world


def packed(members: dict[str, str]) -> bytes:
    """A release as SlapOS packs it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, text in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    return buffer.getvalue()


def put(shop: CrookedCache, world: World, content: bytes) -> None:
    here = this_platform()
    digest = hashlib.sha512(content).hexdigest()
    entry = {
        "sha512": digest, "software_url": URL, "software_root": str(world.config.software_root),
        "multiarch": multiarch(here.machine, here.libc), "os": [here.os, here.version, ""],
    }  # fmt: skip
    text = json.dumps(entry)
    signature = KEY.sign(text.encode(), PKCS1v15(), hashes.SHA1())
    shop.blobs[digest] = content
    shop.directory[software_id(URL)] = [[text, b64encode(signature).decode()]]


def test_nobody_is_asked_for_what_nobody_opted_in_to(world: World, shop: CrookedCache) -> None:
    assert world.once() == ""
    assert not any("/dir/" in each for each in shop.asked)


def test_a_release_of_a_slapos_cache_is_taken_after_an_opt_in(world: World) -> None:
    world.tools.trust.trust_slapos_key(parse_slapos_key(PEM, "old cache"))
    assert world.once().startswith("from cache, signed by old cache (")
    assert (world.folder / "instance.cfg").read_text() == RELEASE["instance.cfg"]
    assert not world.builder.jobs and world.left == {world.folder.name}


def test_a_download_that_was_killed_is_no_hindrance(world: World) -> None:
    world.tools.trust.trust_slapos_key(parse_slapos_key(PEM))
    (world.config.software_root / f".from-cache-{world.folder.name}.tar.gz").write_text("half")
    assert world.once().startswith("from cache")
    assert world.left == {world.folder.name}


@pytest.mark.parametrize("fault", ["flip", "truncate", "shorten", "lose", "drip"])
def test_what_is_wrong_with_it_leaves_nothing_behind(world: World, shop: CrookedCache, fault: str) -> None:
    world.tools.trust.trust_slapos_key(parse_slapos_key(PEM))
    shop.fault, shop.at = fault, "/cache/"
    assert world.once().startswith("built from source: ")
    assert world.left == {world.folder.name} and len(world.builder.jobs) == 1


def test_another_whole_archive_than_its_entry_promises_is_refused(world: World, shop: CrookedCache) -> None:
    world.tools.trust.trust_slapos_key(parse_slapos_key(PEM))
    (digest,) = shop.blobs
    shop.blobs[digest] = packed(
        {f"{software_id(URL)}/{name}": text for name, text in (RELEASE | {"evil": "x"}).items()}
    )
    assert "other bytes than its entry promises" in world.once()
    assert world.left == {world.folder.name} and not (world.folder / "evil").exists()


def test_a_hostile_archive_is_refused(world: World, shop: CrookedCache) -> None:
    world.tools.trust.trust_slapos_key(parse_slapos_key(PEM))
    put(shop, world, packed({f"{software_id(URL)}/../../evil": "x"}))
    assert "outside of the folder" in world.once()
    assert world.left == {world.folder.name} and not (world.config.software_root.parent / "evil").exists()
