"""What commands about caches show when some of the caches do not answer."""

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest

from slap.cache.client.connection import CacheConnection
from slap.cache.trust.cache_key import CacheKey
from slap.cache.trust.keys import SigningKey
from slap.cache.trust.sign import sign_entry
from slap.cache.trust.store import TrustedKey
from slap.cli.cache.rows import COLUMNS, entry_row
from slap.cli.formats import Table
from slap.model.cache import Entry
from slap.node.cache.tools import CacheTools
from slap.node.core.config import write
from slap.node.image.cache import cache_key_of
from slap.system.clock import FakeClock
from slap.system.files import remove_tree
from slap.system.transport import Tls
from tests.unit.cache.crooked import CrookedCache, crooked_cache
from tests.unit.cache.trust_world import NOW, URL, World, entry
from tests.unit.cli.fakes import FakeTransport, Outcome, Shell
from tests.unit.node.things import a_config

DEAD = "http://127.0.0.1:9"


@pytest.fixture
def key(tmp_path: Path) -> SigningKey:
    """The builder's."""
    return World(tmp_path).key()


@pytest.fixture
def shop(key: SigningKey) -> Iterator[CrookedCache]:
    """It has one entry."""
    with crooked_cache() as made:
        CacheConnection(made.cache, Tls()).put_entry(URL, sign_entry(entry(expires_at=int(time.time()) + 9999), key))
        yield made


@pytest.fixture
def tools(shell: Shell, key: SigningKey) -> CacheTools:
    """A node that trusts the builder."""
    made = CacheTools(a_config(shell.folder / "node"), FakeClock(NOW))
    made.trust.trust(TrustedKey(key.public))
    return made


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


def test_a_list_of_nothing_names_what_was_asked_for(shell: Shell, shop: CrookedCache) -> None:
    other = "http://example.com/other/software.cfg"
    assert f"no build of {other}." in look(shell, "cache", "list", other, caches=shop.url).err


def test_for_a_key_that_is_not_trusted_the_next_step_is_to_trust_it(shell: Shell, key: SigningKey) -> None:
    tools = CacheTools(a_config(shell.folder / "node"), FakeClock(NOW))
    cache_key = tools.cache_key(URL)
    with crooked_cache() as shop:
        CacheConnection(shop.cache, Tls()).put_entry(URL, sign_entry(_answer(cache_key), key))
        seen = look(shell, "cache", "info", URL, caches=shop.url)
        other = look(shell, "cache", "info", f"{URL}2/software.cfg", caches=shop.url)
    assert seen.status == 1 and "Next: slapos cache trust KEY" in seen.err
    assert other.status == 1 and "Next: slapos cache list" in other.err


@pytest.mark.parametrize("words", [("list",), ("info", URL), ("verify", URL), ("push",), ("push", URL)])
def test_what_looks_makes_no_node(shell: Shell, words: tuple[str, ...]) -> None:
    config = a_config(shell.folder / "node", networkcache={"cache-url": DEAD})
    write(shell.folder / "node.cfg", config)
    remove_tree(shell.folder / "node")
    seen = shell.run(FakeTransport({}), "cache", *words, "--cfg", str(shell.folder / "node.cfg"))
    assert seen.status == 1 and str(config.root) in seen.err and "--cfg" in seen.err
    assert not (shell.folder / "node").exists()


def test_a_cache_whose_pages_never_end_is_not_listed_for_ever(shell: Shell, shop: CrookedCache) -> None:
    shop.answer = lambda method, path, body: (200, b'{"entries": [], "next": "more"}')  # type: ignore[method-assign]
    seen = look(shell, "cache", "list", caches=shop.url)
    assert seen.status == 0 and "more than 0 entries" in seen.err


def test_a_statement_of_a_time_that_nobody_can_write_is_not_listed(
    shell: Shell, shop: CrookedCache, key: SigningKey
) -> None:
    CacheConnection(shop.cache, Tls()).put_entry(URL, sign_entry(entry(expires_at=1 << 39), key))
    seen = look(shell, "cache", "list", URL, "-f", "json", caches=shop.url)
    assert seen.status == 0 and len(json.loads(seen.out)) == 1


def test_what_this_node_would_take_is_said_of_every_kind(tools: CacheTools, key: SigningKey) -> None:
    questions = [tools.cache_key(URL), tools.part_question("openssl", "ab" * 32), cache_key_of("debian-12", NOW)]
    for each in questions:
        signed = sign_entry(_answer(each), key)
        row = entry_row(signed, tools)
        assert row and row[-1].machine_readable() == "yes", each
        elsewhere = replace(each, root=each.root + "-2")
        row = entry_row(sign_entry(_answer(elsewhere), key), tools)
        assert row and row[-1].machine_readable() == "other-root", each


def test_entries_are_told_apart_on_a_narrow_terminal(tools: CacheTools, key: SigningKey) -> None:
    out = StringIO()
    mine = _answer(tools.cache_key("https://example.com/software/1.0.234/wordpress/software.cfg"))
    other = mine.model_copy(update={"platform": mine.platform.model_copy(update={"machine": "aarch64"})})
    part = _answer(tools.part_question("openssl", "ab" * 32))
    rows = [row for each in (mine, other, part) if (row := entry_row(sign_entry(each, key), tools))]
    Table(80).emit_list(COLUMNS, rows, out, None)
    lines = out.getvalue().splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert [line.split()[0] for line in lines[:3]] == ["RELEASE", "wordpress", "wordpress"]
    assert lines[3].startswith("openssl/ab")
    assert "as here" in lines[1] and "aarch64" in lines[2] and lines[1].endswith("yes")


def _answer(cache_key: CacheKey) -> Entry:
    return entry(
        kind=cache_key.kind, key=cache_key.key, root=cache_key.root, folder=cache_key.name, platform=cache_key.platform
    )
