"""What commands about caches show when some of the caches do not answer."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from slap.cache.client.mirror import Mirror
from slap.cache.trust.sign import sign
from slap.node.config import write
from slap.system.transport import Tls
from tests.unit.cache.crooked import CrookedCache, crooked_cache
from tests.unit.cache.trust_world import URL, World, entry
from tests.unit.cli.fakes import FakeTransport, Outcome, Shell
from tests.unit.node.things import a_config

DEAD = "http://127.0.0.1:9"


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[CrookedCache]:
    """It has one entry."""
    with crooked_cache() as made:
        Mirror(made.cache, Tls()).put_entry(URL, sign(entry(expires_at=int(time.time()) + 9999), World(tmp_path).key()))
        yield made


def look(shell: Shell, *words: str, caches: str) -> Outcome:
    config = a_config(shell.folder / "node", networkcache={"cache-url": caches})
    write(shell.folder / "node.cfg", config)
    return shell.run(FakeTransport({}), *words, "--cfg", str(shell.folder / "node.cfg"))


@pytest.mark.parametrize("words", [("cache", "list", URL), ("cachelookup", "binary-sr", URL)])
def test_caches_that_answer_are_shown_and_others_told(shell: Shell, shop: CrookedCache, words: tuple[str, ...]) -> None:
    seen = look(shell, *words, "-f", "json", caches=f"{DEAD}\n{shop.url}")
    assert seen.status == 0 and len(json.loads(seen.out)) == 1
    assert DEAD in seen.err and "refused" in seen.err


@pytest.mark.parametrize("words", [("cache", "list", URL), ("cachelookup", "binary-sr", URL)])
def test_it_fails_when_none_answers(shell: Shell, words: tuple[str, ...]) -> None:
    seen = look(shell, *words, caches=f"{DEAD}\n{DEAD}/other")
    assert (seen.status, seen.out) == (1, "") and DEAD in seen.err and "refused" in seen.err


def test_a_cache_whose_pages_never_end_is_not_listed_for_ever(shell: Shell, shop: CrookedCache) -> None:
    shop.answer = lambda method, path, body: (200, b'{"entries": [], "next": "more"}')  # type: ignore[method-assign]
    seen = look(shell, "cache", "list", caches=shop.url)
    assert seen.status == 0 and "more than 0 entries" in seen.err
