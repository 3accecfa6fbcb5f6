"""What is asked of caches, and in which order: many trusted keys cost no answer, and none of them is never heard."""

import time
from pathlib import Path

import pytest

from slap.cache.client.connection import CacheConnection
from slap.cache.client.lookup import LookupResult, find_entries
from slap.cache.trust.sign import sign_revocation, sign_succession
from slap.model.cache import SignedEntry
from slap.system.transport import Tls
from tests.unit.cache.crooked import CrookedCache
from tests.unit.cache.trust_world import ENTRY, NOW, QUESTION, URL, World

FAR = 0.25  # seconds of a round trip: within 1.5 of them there are five


@pytest.fixture
def crowded(world: World) -> World:
    """It trusts twenty keys more."""
    for number in range(20):
        world.trust(f"other-{number}")
    return world


def store(shop: CrookedCache, key: str, signed: SignedEntry) -> None:
    CacheConnection(shop.cache, Tls()).put_entry(key, signed)


def ask(shop: CrookedCache, world: World) -> LookupResult:
    return find_entries(QUESTION, [shop.cache], lambda cache: CacheConnection(cache, Tls()), world.store)


def test_a_far_cache_answers_in_time_however_many_keys_are_trusted(shop: CrookedCache, crowded: World) -> None:
    store(shop, URL, crowded.signed())
    shop.delay = FAR
    started = time.monotonic()
    found = ask(shop, crowded)
    assert found.found and not found.troubles and time.monotonic() - started < 1.2


def test_the_signers_are_heard_first(shop: CrookedCache, crowded: World) -> None:
    store(shop, URL, crowded.signed())
    store(shop, crowded.key().public.id, sign_revocation(crowded.key(), NOW, "stolen"))
    shop.delay = FAR
    found = ask(shop, crowded)
    assert not found.found and "stolen" in found.notices[0]


def test_so_is_who_named_them(shop: CrookedCache, crowded: World) -> None:
    crowded.trust("heir", because=crowded.key().public.id)
    store(shop, URL, crowded.signed(ENTRY, "heir"))
    store(shop, crowded.key().public.id, sign_revocation(crowded.key(), NOW, "stolen"))
    shop.delay = FAR
    assert not ask(shop, crowded).found


def test_a_stranger_may_be_the_successor_of_whom_is_asked_next(shop: CrookedCache, crowded: World) -> None:
    crowded.trust(follows=True)
    store(shop, URL, crowded.signed(ENTRY, "heir"))
    store(shop, crowded.key().public.id, sign_succession(crowded.key(), crowded.key("heir").public, NOW))
    shop.delay = FAR
    assert ask(shop, crowded).found


def test_what_any_trusted_key_says_of_itself_is_heard(shop: CrookedCache, crowded: World) -> None:
    for number in range(20):
        key = crowded.key(f"other-{number}")
        store(shop, key.public.id, sign_revocation(key, NOW))
    deadline = time.monotonic() + 30
    while len(crowded.store.revoked()) < 20:  # each time as far as the time goes
        assert time.monotonic() < deadline
        ask(shop, crowded)


def test_a_cache_that_breaks_off_after_what_counts_is_believed_that(shop: CrookedCache, crowded: World) -> None:
    store(shop, URL, crowded.signed())
    asked = CacheConnection(shop.cache, Tls())
    answers = 0

    class Tired(CacheConnection):
        def entries(self, key: str) -> tuple[SignedEntry, ...]:
            nonlocal answers
            answers += 1
            if answers > 3:
                shop.fault = "fail"
            return super().entries(key)

    found = find_entries(QUESTION, [asked.cache], lambda cache: Tired(cache, Tls()), crowded.store)
    assert found.found and not found.troubles


def test_a_cache_that_does_not_say_what_signers_say_is_not_believed(
    shop: CrookedCache, crowded: World, tmp_path: Path
) -> None:
    store(shop, URL, crowded.signed())

    class Silent(CacheConnection):
        def entries(self, key: str) -> tuple[SignedEntry, ...]:
            shop.fault = "fail" if key != URL else ""
            return super().entries(key)

    found = find_entries(QUESTION, [shop.cache], lambda cache: Silent(cache, Tls()), crowded.store)
    assert not found.found and found.troubles
