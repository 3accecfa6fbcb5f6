"""Entries of several writers under one key: nobody removes or hides those of another."""

import asyncio
import json
from pathlib import Path

import pytest

from slap.cache.server.directory import Directory, render_envelopes
from slap.cache.server.entry_quota import OF_GROUP, OF_WRITER
from slap.cache.server.quota import Quota
from slap.cache.server.statement import key_digest, parse_signed_entry
from slap.cache.storage.folder import Folder
from slap.cache.trust.envelope import sign_statement
from slap.cache.trust.key_statements import apply_key_statement
from slap.cache.trust.sign import sign_revocation
from slap.model.cache import REVOCATION_TYPE, Revocation, SignedEntry
from slap.model.errors import Conflict, TooMany
from tests.unit.cache.trust_world import NOW, URL, World, on


class Shop:
    """The entries of a cache in a folder."""

    def __init__(self, folder: Path) -> None:
        self.storage = Folder(folder)
        self.restart()

    def restart(self) -> None:
        """Forget how many came lately."""
        self.directory = Directory(self.storage, Quota(None, self.storage.keys), "entry", render_envelopes)

    def add(self, signed: SignedEntry, writer: str) -> bool:
        return asyncio.run(self.directory.add(parse_signed_entry(signed.model_dump_json().encode()), writer))

    def told(self, key: str) -> list[SignedEntry]:
        told = json.loads(asyncio.run(self.directory.told(key_digest(key))))
        return [SignedEntry.model_validate(each) for each in told["entries"]]


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path / "objects")


def forged(world: World, number: int) -> SignedEntry:
    """A revocation of the builder's key that somebody else signed, in the builder's name."""
    victim = world.key().public.id
    signed = sign_statement(REVOCATION_TYPE, Revocation(key=victim, at=NOW + number), world.key("thief"))
    signature = signed.signatures[0].model_copy(update={"keyid": victim})
    return signed.model_copy(update={"signatures": (signature,)})


def test_forged_revocations_do_not_push_out_the_genuine_one(shop: Shop, world: World) -> None:
    world.trust()
    genuine = sign_revocation(world.key(), NOW, "stolen")
    assert shop.add(genuine, "owner")
    for number in range(2 * OF_GROUP):
        assert shop.add(forged(world, number), "thief")
    told = shop.told(world.key().public.id)
    assert genuine in told and len(told) == OF_GROUP + 1
    assert apply_key_statement(genuine, world.store, NOW).endswith("revoked itself: stolen")


def test_who_stores_a_copy_first_cannot_take_it_away_again(shop: Shop, world: World) -> None:
    genuine = sign_revocation(world.key(), NOW)
    assert [shop.add(genuine, "thief"), shop.add(genuine, "owner"), shop.add(genuine, "owner")] == [True, True, False]
    for number in range(OF_GROUP):
        shop.add(forged(world, number), "thief")
    assert shop.told(world.key().public.id).count(genuine) == 1


def test_who_fills_a_key_blocks_nobody_else(shop: Shop, world: World) -> None:
    with pytest.raises(TooMany):
        for number in range(100):
            shop.add(world.signed(on(machine=f"m{number}")), "thief")
    shop.restart()
    with pytest.raises((Conflict, TooMany)):
        for number in range(OF_WRITER + 1):
            if number % 50 == 0:
                shop.restart()
            shop.add(world.signed(on(machine=f"n{number}")), "thief")
    assert shop.add(world.signed(), "owner")
    assert world.signed() in shop.told(URL)[:2]


def test_what_came_before_writers_were_known_is_pushed_out_by_nobody(shop: Shop, world: World) -> None:
    genuine = sign_revocation(world.key(), NOW)
    filed = parse_signed_entry(genuine.model_dump_json().encode())
    shop.storage.put(f"entry/{filed.key}/000001800000000-{filed.id}", [filed.text.encode()])
    assert not shop.add(genuine, "owner")
    for number in range(2 * OF_GROUP):
        shop.add(forged(world, number), "thief")
    assert genuine in shop.told(world.key().public.id)
