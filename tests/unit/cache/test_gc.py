"""What of a cache goes, and what stays."""

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from slap.cache.gc import (
    Indexed,
    Removal,
    Rules,
    Survey,
    Why,
    chunks_in,
    plan,
    remove,
    remove_all,
    supplied_keys,
    survey,
)
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
    """An entry of the group `g`, stored so many days ago by the writer `w`."""
    values = {
        "stored": Stored(f"entry/key/{number:03}-id-w", 10, NOW - days * DAY),
        "group": "g",
        "keys": frozenset(("url",)),
        "expires_at": NOW + DAY,
        "blob": "m1",
        "needs": ("m1",),
        "manifest": "m1",
    }
    return Indexed(**{**values, **changes})


def blobs(**days: float) -> dict[str, Stored]:
    return {name: Stored(f"blob/{name}", 100, NOW - age * DAY) for name, age in days.items()}


def verdicts(entries: list[Indexed], stored: dict[str, Stored], rules: Rules = RULES, *supplied: str) -> dict[str, Why]:
    made = plan(Survey(entries, stored), chunks, rules, NOW, frozenset(supplied))
    return {each.stored.key.rpartition("/")[2].partition("-")[0]: each.why for each in made.removals}


def chunks(manifest: str) -> Iterable[str] | None:
    return {"m1": ("c1",), "later format": None}[manifest]


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
        ([indexed(1, days=900, blob="", needs=(), manifest="")], {}, {}),
    ],
)
def test_what_goes(entries: list[Indexed], stored: dict[str, Stored], gone: dict[str, Why]) -> None:
    assert verdicts(entries, stored) == gone


def test_what_is_supplied_stays_while_it_is_the_newest() -> None:
    stored = blobs(m1=40, c1=40)
    assert verdicts([indexed(1, days=41), indexed(2, days=40)], stored, RULES, "url") == {"001": Why.SUPERSEDED}


def test_without_a_rule_nothing_current_goes_by_age() -> None:
    assert verdicts([indexed(1, days=400)], blobs(m1=400, c1=400), Rules()) == {}


def test_what_another_writer_stored_supersedes_nothing() -> None:
    """Whoever may write may claim any signer, and would remove a revocation otherwise."""
    notice: dict[str, Any] = {"blob": "", "needs": (), "manifest": ""}
    genuine = indexed(1, days=90, **notice)
    before = indexed(2, days=90, stored=Stored("entry/key/002-id", 10, 0), **notice)
    forged = [indexed(n, stored=Stored(f"entry/key/{n:03}-id-thief", 10, NOW), **notice) for n in (3, 4)]
    older = indexed(5, days=1, stored=Stored("entry/key/005-id", 10, 0), **notice)
    assert verdicts([genuine, before, *forged, older], {}) == {"003": Why.SUPERSEDED}


def test_what_is_supplied_keeps_its_shared_parts() -> None:
    stored = blobs(m1=40, c1=40)
    entries = [indexed(1, days=40), indexed(2, days=40, is_part=True, group="part", keys=frozenset(("zlib/1",)))]
    assert verdicts(entries, stored, RULES, "url") == {}
    assert verdicts(entries, stored, RULES, "other") == {"001": Why.UNUSED}
    made = plan(Survey(entries, stored), chunks, RULES, NOW)
    assert {each.why for each in made.removals} == {Why.UNUSED, Why.UNREACHED}


def test_what_cannot_be_read_may_need_any_blob() -> None:
    stored = blobs(m1=40, c1=40) | {"later format": Stored("blob/later", 100, NOW)}
    entries = [indexed(1, expires_at=NOW - 1), indexed(2, group="h", blob="later format", manifest="later format")]
    made = plan(Survey(entries, stored), chunks, RULES, NOW)
    assert [each.why for each in made.removals] == [Why.EXPIRED]
    assert made.unreadable == ("entry/key/002-id-w",)
    made = plan(Survey([], stored, ("entry/key/003-id-w",)), chunks, RULES, NOW)
    assert (made.removals, made.unreadable) == ((), ("entry/key/003-id-w",))


def test_only_manifests_of_what_stays_are_read_and_each_once() -> None:
    read: list[str] = []

    def noted(manifest: str) -> Iterable[str] | None:
        read.append(manifest)
        return ("c1",)

    entries = [indexed(1, group="a"), indexed(2, group="b"), indexed(3, group="c", expires_at=NOW - 1, manifest="gone")]
    plan(Survey(entries, blobs(m1=1, c1=1)), noted, RULES, NOW)
    assert read == ["m1"]


def test_a_plan_says_how_much() -> None:
    made = plan(Survey([indexed(1)], blobs(m1=1, c1=1, x=3, y=3)), chunks, RULES, NOW)
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
    seen = survey(storage, lambda: steps.append(None))
    native, revocation, former = sorted(seen.entries, key=lambda each: each.stored.key[-1])
    assert set(native.needs) >= {blob(manifest).sha512, blob(b"sbom").sha512}
    assert list(chunks_in(storage, native.manifest) or ()) == [chunk]
    assert chunks_in(storage, blob(b"sbom").sha512) is None and chunks_in(storage, "0" * 128) == ()
    assert seen.unreadable == (f"{place}/002-b",)
    assert (native.keys, native.expires_at) == (frozenset({URL}), ENTRY.expires_at)
    assert (revocation.blob, former.needs) == ("", ("0" * 128,))
    assert former.keys == {"k", URL}
    assert (len(seen.blobs), len(steps)) == (3, 7)


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


def test_entries_go_before_blobs_and_what_went_is_told(tmp_path: Path) -> None:
    storage = Folder(tmp_path)
    for key in (f"entry/{'0' * 64}/001-id-w", *(f"blob/{number:0128x}" for number in range(40))):
        storage.put(key, [b"x"])
    seen = [*storage.keys("entry/"), *storage.keys("blob/")]
    storage.delete(seen[7].key)
    told = list(remove_all(storage, [Removal(each, Why.UNREACHED) for each in seen]))
    assert [each.stored for each, _ in told] == seen
    assert [each.stored for each, is_gone in told if not is_gone] == [seen[7]]
    assert list(storage.keys()) == []
