"""What of a cache goes, and what stays."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from slap.cache.gc import Indexed, Removal, Rules, Why, plan, remove, supplied_keys, survey
from slap.cache.server.statement import key_digest
from slap.cache.storage.folder import Folder
from slap.cache.storage.storage import Stored
from slap.cache.trust.sign import sign_revocation
from slap.model.cache.manifest import ChunkRef, Manifest
from tests.unit.cache.trust_world import ENTRY, URL, World, blob, entry

DAY = 86_400.0
NOW = 1000 * DAY
RULES = Rules(superseded=7 * DAY, unused=30 * DAY, grace=2 * DAY)


def indexed(number: int, days: float = 0, **changes: Any) -> Indexed:
    """An entry of the group `g`, stored so many days ago."""
    values = {
        "stored": Stored(f"entry/key/{number:03}", 10, NOW - days * DAY),
        "group": "g",
        "keys": frozenset(("url",)),
        "expires_at": NOW + DAY,
        "blob": "m1",
        "reaches": frozenset(("m1", "c1")),
    }
    return Indexed(**{**values, **changes})


def blobs(**days: float) -> dict[str, Stored]:
    return {name: Stored(f"blob/{name}", 100, NOW - age * DAY) for name, age in days.items()}


def verdicts(entries: list[Indexed], stored: dict[str, Stored], rules: Rules = RULES, *supplied: str) -> dict[str, Why]:
    made = plan(entries, stored, rules, NOW, frozenset(supplied))
    return {each.stored.key.rpartition("/")[2]: each.why for each in made.removals}


@pytest.mark.parametrize(
    ("entries", "stored", "gone"),
    [
        ([indexed(1)], blobs(m1=50, c1=50), {}),
        ([indexed(1, days=40)], blobs(m1=3, c1=90), {}),
        ([indexed(1, days=40)], blobs(m1=40, c1=40), {"001": Why.UNUSED, "m1": Why.UNREACHED, "c1": Why.UNREACHED}),
        ([indexed(1, expires_at=NOW - 1)], blobs(m1=1, c1=3), {"001": Why.EXPIRED, "c1": Why.UNREACHED}),
        ([indexed(1, days=8), indexed(2)], blobs(m1=8, c1=8), {"001": Why.SUPERSEDED}),
        ([indexed(1, days=8), indexed(2)], blobs(m1=6, c1=8), {}),
        ([indexed(1, days=8), indexed(2, group="h")], blobs(m1=8, c1=8), {}),
        ([indexed(1, days=3)], blobs(c1=3), {"001": Why.BROKEN, "c1": Why.UNREACHED}),
        ([indexed(1, days=1)], blobs(c1=3), {}),
        ([], blobs(young=1, old=3), {"old": Why.UNREACHED}),
        ([indexed(1, days=900, blob="", reaches=frozenset())], {}, {}),
    ],
)
def test_what_goes(entries: list[Indexed], stored: dict[str, Stored], gone: dict[str, Why]) -> None:
    assert verdicts(entries, stored) == gone


def test_what_is_supplied_stays_while_it_is_the_newest() -> None:
    stored = blobs(m1=40, c1=40)
    assert verdicts([indexed(1, days=41), indexed(2, days=40)], stored, RULES, "url") == {"001": Why.SUPERSEDED}


def test_without_a_rule_nothing_current_goes_by_age() -> None:
    assert verdicts([indexed(1, days=400)], blobs(m1=400, c1=400), Rules()) == {}


def test_a_plan_says_how_much() -> None:
    made = plan([indexed(1)], blobs(m1=1, c1=1, x=3, y=3), RULES, NOW)
    assert (made.bytes, made.kept, made.kept_bytes) == (200, 3, 210)


def test_releases_are_known_by_their_url_and_its_md5() -> None:
    assert supplied_keys(["http://a/b"]) == {"http://a/b", hashlib.md5(b"http://a/b").hexdigest()}


def test_a_survey_finds_what_entries_reach(world: World, tmp_path: Path) -> None:
    storage = Folder(tmp_path / "objects")
    chunk = hashlib.sha512(b"chunk").hexdigest()
    manifest = Manifest(
        path="/a", root="/", embeds_path=False, digest="0" * 128, chunks=(ChunkRef(sha512=chunk, size=9, packed=5),)
    ).encoded()
    for content in (b"chunk", manifest, b"sbom"):
        storage.put(f"blob/{hashlib.sha512(content).hexdigest()}", [content])
    signed = world.signed(entry(manifest=blob(manifest)))
    place = f"entry/{key_digest(URL)}"
    storage.put(f"{place}/001-a", [signed.model_dump_json().encode()])
    storage.put(f"{place}/002-b", [b"nonsense"])
    storage.put(f"entry/{'0' * 64}/001-c", [sign_revocation(world.key(), NOW).model_dump_json().encode()])
    old = {"key": "k", "entry": [json.dumps({"sha512": "0" * 128, "software_url": URL}), "sig"]}
    storage.put(f"dir/{'0' * 64}/001-d", [json.dumps(old).encode()])
    steps: list[None] = []
    found, stored = survey(storage, lambda: steps.append(None))
    native, revocation, former = sorted(found, key=lambda each: each.stored.key[-1])
    assert native.reaches >= {chunk, blob(manifest).sha512, blob(b"sbom").sha512}
    assert (native.keys, native.expires_at) == ({URL}, ENTRY.expires_at)
    assert (revocation.blob, former.reaches) == ("", {"0" * 128})
    assert former.keys == {"k", URL}
    assert (len(stored), len(steps)) == (3, 7)


def test_what_was_used_after_the_plan_stays(tmp_path: Path) -> None:
    storage, key = Folder(tmp_path), f"blob/{'ab' * 64}"
    storage.put(key, [b"x"])
    path = tmp_path / "blob/ab" / ("ab" * 64)
    os.utime(path, (1, 1))
    (seen,) = storage.keys(key)
    storage.size(key)
    assert not remove(storage, Removal(seen, Why.UNREACHED))
    (seen,) = storage.keys(key)
    assert remove(storage, Removal(seen, Why.UNREACHED))
    assert storage.size(key) is None
