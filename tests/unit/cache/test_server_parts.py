"""The pure parts of the cache server: ranges, bounds, memory, quota, tokens."""

import stat
from pathlib import Path

import pytest

from slap.cache.server.access import token_of
from slap.cache.server.blobs import runs
from slap.cache.server.entry_quota import OF_GROUP, OF_KEY, OF_WRITER, find_superseded, id_of, round_robin, writer_of
from slap.cache.server.quota import Quota, Reservation
from slap.cache.server.ranges import BadRange, parse_range
from slap.cache.server.settings import CacheSettings
from slap.cache.server.tokens import TokenFile
from slap.cache.server.ttl_cache import RateLimit, TtlCache
from slap.cache.storage.storage import Stored
from slap.model.errors import Conflict, InvalidInput, NotFound, StorageFull


@pytest.mark.parametrize(
    ("header", "start", "end", "status"),
    [
        ("", 0, 10, 200),
        ("bytes=0-0", 0, 1, 206),
        ("bytes=2-", 2, 10, 206),
        ("bytes=2-99", 2, 10, 206),
        ("bytes=-3", 7, 10, 206),
        ("bytes=-99", 0, 10, 206),
        ("bytes=0-1,4-5", 0, 10, 200),
        ("lines=1-2", 0, 10, 200),
        ("bytes=-", 0, 10, 200),
        ("bytes=1-" + "9" * 30, 0, 10, 200),
    ],
)
def test_a_range_is_understood(header: str, start: int, end: int, status: int) -> None:
    span = parse_range(header, 10)
    assert (span.start, span.end, span.status) == (start, end, status)


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=10-12", "bytes=5-3", "bytes=-0"])
def test_a_range_outside_is_refused(header: str) -> None:
    with pytest.raises(BadRange):
        parse_range(header, 10)


def test_a_later_entry_takes_the_place_of_an_old_one_of_its_group_alone() -> None:
    groups = [(f"{number}", "a" if number % 2 else "b") for number in range(2 * OF_GROUP + 2)]
    assert find_superseded(groups, 0, "a") == ["7", "9"]
    assert find_superseded(groups, 0, "c") == []


def test_a_key_that_is_full_takes_no_more() -> None:
    groups = [(f"{number}", f"group {number}") for number in range(OF_WRITER)]
    for own, others in ((groups, 0), ([], OF_KEY)):
        with pytest.raises(Conflict):
            find_superseded(own, others, "new")
    mine = [(f"x{number}", "mine") for number in range(OF_GROUP)]
    assert find_superseded([*groups[OF_GROUP:], *mine], OF_KEY - OF_WRITER, "mine") == ["x3"]


def test_an_answer_begins_with_the_newest_of_each_writer() -> None:
    names = ["entry/k/9-a-x", "entry/k/8-b-x", "entry/k/7-c-x", "entry/k/6-d", "entry/k/5-e-y", "entry/k/4-f-y"]
    assert [id_of(name) for name in round_robin(names)] == ["a", "d", "e", "b", "f", "c"]
    assert [writer_of(name) for name in names] == ["x", "x", "x", "", "y", "y"]


def test_memory_is_bounded_in_bytes_and_in_time() -> None:
    now = [0.0]
    lately = TtlCache(2000, 5, lambda: now[0])
    for name in "abc":
        lately.put(name, b"x" * 500)
    assert [lately.get(name) is None for name in "abc"] == [True, False, False]
    lately.put("large", b"x" * 3000)
    assert lately.get("large") is None
    lately.put("d", b"")
    now[0] = 6
    assert lately.get("d") is None


def test_a_pace_is_kept_by_name() -> None:
    now = [0.0]
    pace = RateLimit(2, 60, lambda: now[0])
    assert [pace.allows("a") for _ in range(3)] == [True, True, False]
    assert pace.allows("b")
    now[0] = 61
    assert pace.allows("a")


def test_what_comes_counts_before_it_is_there() -> None:
    stored = [Stored("blob/x", 50, 0)]
    quota = Quota(100, lambda: stored)
    quota.recount()
    room = Reservation(quota)
    room.take(40)
    with pytest.raises(StorageFull, match="full"):
        Reservation(quota).take(20)
    room.settle(None)
    other = Reservation(quota)
    other.take(50)
    other.settle(50)
    assert (quota.used, quota.objects) == (100, 2)


def test_a_full_store_is_counted_again_before_the_last_word() -> None:
    stored = [Stored("blob/x", 100, 0)]
    quota = Quota(100, lambda: stored)
    with pytest.raises(StorageFull):
        Reservation(quota).take(10)
    stored.clear()
    quota.recount()
    Reservation(quota).take(100)


def test_tokens_are_stored_as_digests_and_end_at_once(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    file, other = TokenFile(path), TokenFile(path)
    token = file.add("node 1")
    assert (other.name(token), other.name(""), other.name("cache:x")) == ("node 1", "", "")
    assert token not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    file.remove("node 1")
    assert other.name(token) == ""
    with pytest.raises(NotFound):
        file.remove("node 1")
    with pytest.raises(InvalidInput):
        file.add("two\nlines")


@pytest.mark.parametrize(
    ("header", "token"),
    [("", ""), ("Bearer a:b", "a:b"), ("Basic dTp4OnkK", "x:y\n"), ("Basic ???", "?"), ("X-SlapPartition a", "")],
)
def test_a_token_comes_in_two_ways(header: str, token: str) -> None:
    assert token_of(header) == token


def test_blobs_are_read_in_runs_of_which_the_first_is_short() -> None:
    kib = 1 << 10
    found = list(runs(["a", "b", "c", "d"], [10, 200 * kib, 50 * kib, 300 * kib]))
    assert found == [
        [("a", 0, 10)],
        [("b", 0, 200 * kib), ("c", 0, 50 * kib)],
        [("d", 0, 256 * kib)],
        [("d", 256 * kib, 300 * kib)],
    ]
    assert list(runs(["empty"], [0])) == []


def test_an_authority_without_tls_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="tls"):
        CacheSettings(folder=tmp_path, authority=tmp_path)


def test_sizes_are_written_in_units(tmp_path: Path) -> None:
    settings = CacheSettings.model_validate({"folder": tmp_path, "quota": "200 GiB", "largest": "5000"})
    assert (settings.quota, settings.largest) == (200 << 30, 5000)
