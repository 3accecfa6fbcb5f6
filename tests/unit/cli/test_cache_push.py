"""What `slapos cache push` says of what it sent, and of a cache that does not take it."""

import json
import re

import pytest

from slap.cache.trust.keys import generate_key
from slap.model.cache import EntryKind
from slap.model.errors import SlapError, StorageFull, Unauthenticated
from slap.node.cache.upload_queue import CacheStore, Upload
from slap.node.core.config import NodeConfig, write
from slap.node.core.marker import MARKER, Marker
from tests.unit.cache.crooked import CrookedCache
from tests.unit.cli.fakes import FakeTransport, Outcome, Shell
from tests.unit.node.things import URL, a_config


@pytest.fixture
def config(shell: Shell, shop: CrookedCache) -> NodeConfig:
    """A node with a key, and a small release that it built."""
    made = a_config(shell.folder / "node", networkcache={"cache-url": shop.url, "upload-url": shop.url})
    write(shell.folder / "node.cfg", made)
    assert made.cache.key_file
    generate_key(made.cache.key_file, "builder")
    release = made.software(URL)
    release.mkdir()
    (release / "instance.cfg").write_text("[buildout]\n")
    (release / MARKER).write_text(Marker(url=URL, fingerprint="f").model_dump_json())
    return made


def push(shell: Shell, *words: str) -> Outcome:
    return shell.run(FakeTransport({}), "cache", "push", *words, "--cfg", str(shell.folder / "node.cfg"))


def test_what_was_sent_is_no_more_than_there_is(shell: Shell, config: NodeConfig, shop: CrookedCache) -> None:
    first = push(shell, URL)
    assert first.status == 0 and re.search(r"Uploaded [\d.]+ KiB in ", first.err), first.err
    size = sum(map(len, shop.blobs.values()))
    again = push(shell, URL)
    found = re.search(r"Uploaded ([\d.]+) (B|KiB) of ([\d.]+) KiB in .*; the rest was there", again.err)
    assert found and float(found[3]) == pytest.approx(size / 1024, abs=0.3), again.err
    assert float(found[1]) / (1024 if found[2] == "B" else 1) <= float(found[3])


@pytest.mark.parametrize(
    ("error", "next_step"),
    [
        (Unauthenticated("This cache does not know who writes.", "", "Run this."), "slapos cache token NAME"),
        (StorageFull("This cache is full.", "", "Run this."), "slapos cache gc"),
    ],
)
def test_a_cache_that_takes_nothing_is_told_with_what_to_do(
    shell: Shell, config: NodeConfig, shop: CrookedCache, error: SlapError, next_step: str
) -> None:
    refusal = (error.http_status, error.document().model_dump_json().encode())
    shop.answer = lambda method, *_: refusal if method == "PUT" else (404, b"")  # type: ignore[method-assign]
    seen = push(shell, URL)
    assert seen.status == 1 and error.brief in seen.err
    assert "Next: " in seen.err and next_step in seen.err and "Run this" not in seen.err


def test_what_waits_says_what_to_do_too(shell: Shell, config: NodeConfig, shop: CrookedCache) -> None:
    refusal = (507, StorageFull("This cache is full.").document().model_dump_json().encode())
    shop.answer = lambda method, *_: refusal if method == "PUT" else (404, b"")  # type: ignore[method-assign]
    CacheStore(config.cache_file).queue(Upload(EntryKind.RELEASE, URL, str(config.software(URL)), 1, 2))
    (row,) = json.loads(push(shell, "--queued", "-f", "json").out)
    assert row["failures"] == 1 and "slapos cache gc" in row["message"]
