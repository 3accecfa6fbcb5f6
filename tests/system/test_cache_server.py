"""The cache server as a process: uploads and downloads, kills, bodies of all kinds, quota, and who may write."""

import hashlib
import http.client
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from slap.cache.trust.sign import renew_entry
from slap.model.cache import MOST_AT_ONCE, SignedEntry
from tests.system.cache_server import CacheServer, cache_server, empty_manifest, is_closed_within, noise, sha512
from tests.system.cloud import as_nobody, eventually
from tests.system.typed import SLAPOS
from tests.unit.cache.trust_world import ENTRY, PLATFORM, URL, World, entry

KEY = hashlib.sha256(URL.encode()).hexdigest()
MIB = 1 << 20


@pytest.fixture
def server(tmp_path: Path) -> Iterator[CacheServer]:
    with cache_server(tmp_path, "patience = 1.5\n") as made:
        yield made


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    (tmp_path / "trust").mkdir()
    made = World(tmp_path / "trust")
    yield made
    made.store.close()


def put_entry(server: CacheServer, signed: SignedEntry, key: str = KEY) -> int:
    return server.ask("PUT", f"/api/v1/entries/{key}", signed.model_dump_json()).status


def test_a_blob_goes_in_and_comes_out(server: CacheServer) -> None:
    content = noise(3 * MIB + 11)
    path = f"/api/v1/blobs/{sha512(content)}"
    assert server.ask("GET", path).status == 404
    assert server.ask("PUT", path, content).status == 201
    assert server.ask("PUT", path, content).status == 200
    whole = server.ask("GET", path)
    assert (whole.status, whole.body) == (200, content)
    assert server.ask("GET", path.replace("/api/v1/blobs", "/cache")).body == content
    part = server.ask("GET", path, Range="bytes=1000000-3000000")
    assert (part.status, part.body) == (206, content[1000000:3000001])
    assert part.headers["content-range"] == f"bytes 1000000-3000000/{len(content)}"
    assert server.ask("HEAD", path).headers["content-length"] == str(len(content))
    outside = server.ask("GET", path, Range=f"bytes={len(content)}-")
    assert (outside.status, outside.headers["content-range"]) == (416, f"bytes */{len(content)}")


def test_several_blobs_are_one_answer_or_none(server: CacheServer) -> None:
    contents = [noise(2 * MIB + 5), b"small", noise(MIB // 2)]
    for content in contents:
        server.ask("PUT", f"/api/v1/blobs/{sha512(content)}", content)
    names = [sha512(each) for each in (*contents, contents[1])]
    answer = server.ask("GET", f"/api/v1/blobs?sha512={','.join(names)}")
    assert (answer.status, answer.body) == (200, b"".join(contents) + contents[1])
    absent = server.ask("GET", f"/api/v1/blobs?sha512={names[0]},{'0' * 128}")
    assert absent.status == 404 and "0" * 128 in absent.json["brief"]
    for words in ("", ",", "..", names[0] + ",../../tokens", ",".join([names[0]] * (MOST_AT_ONCE + 1))):
        assert server.ask("GET", f"/api/v1/blobs?sha512={words}").status == 400


def test_a_body_of_another_digest_is_never_there(server: CacheServer) -> None:
    path = f"/api/v1/blobs/{'0' * 128}"
    answer = server.ask("PUT", path, noise(2 * MIB))
    assert (answer.status, answer.json["kind"]) == (400, "invalid-input")
    assert server.ask("GET", path).status == 404
    assert (server.objects(), server.asides()) == ([], [])


@pytest.mark.parametrize(
    "name", ["..", "../../tokens", "%2e%2e%2ftokens", "A" * 128, "0" * 127, "0" * 129, "0" * 127 + "%0a", ""]
)
def test_a_name_leads_nowhere_else(server: CacheServer, name: str) -> None:
    for root in ("/api/v1/blobs/", "/cache/", "/api/v1/entries/"):
        for method in ("GET", "HEAD", "PUT"):
            assert server.ask(method, root + name, b"x" if method == "PUT" else None).status in (400, 404, 200)
    assert server.objects() == []


def test_memory_does_not_grow_with_a_blob(server: CacheServer) -> None:
    piece, digest = noise(MIB), hashlib.sha512()
    for _ in range(400):
        digest.update(piece)
    path = f"/api/v1/blobs/{digest.hexdigest()}"
    sent = server.ask("PUT", path, (piece for _ in range(400)), Content_Length=str(400 * MIB))
    assert sent.status == 201
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.request("GET", path)
    answer, received = connection.getresponse(), 0
    while piece := answer.read(MIB):
        received += len(piece)
    connection.close()
    assert received == 400 * MIB
    assert server.memory() < 100 * MIB


def test_the_same_blob_is_uploaded_by_many_at_once(server: CacheServer) -> None:
    content = noise(5 * MIB)
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda _: server.ask("PUT", f"/cache/{sha512(content)}", content).status, range(8)))
    assert set(statuses) <= {200, 201}
    assert server.ask("GET", f"/cache/{sha512(content)}").body == content
    assert len(server.objects()) == 1


def test_entries_of_many_stand_side_by_side_the_newest_first(server: CacheServer, world: World) -> None:
    on_arm = entry(platform=PLATFORM.model_copy(update={"machine": "aarch64"}))
    signed = [
        world.signed(),
        world.signed(on_arm),
        world.signed(renew_entry(ENTRY, ENTRY.version + 5)),
        world.signed(ENTRY, "other"),
    ]
    assert [put_entry(server, each) for each in signed] == [201] * 4
    assert put_entry(server, signed[0]) == 200
    told = server.ask("GET", f"/api/v1/entries/{KEY}").json["entries"]
    assert [SignedEntry.model_validate(each) for each in told] == signed[::-1]
    page = server.ask("GET", "/api/v1/entries").json
    assert len(page["entries"]) == 4
    while page["next"]:
        page = server.ask("GET", f"/api/v1/entries?page={page['next']}").json
        assert page["entries"] == []


def test_of_one_signer_and_platform_a_few_are_kept(server: CacheServer, world: World) -> None:
    signed = [world.signed(renew_entry(ENTRY, ENTRY.version + number)) for number in range(1, 8)]
    other = world.signed(ENTRY, "other")
    assert put_entry(server, other) == 201
    assert {put_entry(server, each) for each in signed} == {201}
    told = server.ask("GET", f"/api/v1/entries/{KEY}").json["entries"]
    assert [SignedEntry.model_validate(each) for each in told] == [*signed[:2:-1], other]


def test_what_is_no_entry_is_refused(server: CacheServer, world: World) -> None:
    good = world.signed()
    assert put_entry(server, good, "0" * 64) == 400
    assert put_entry(server, good.model_copy(update={"signatures": ()})) == 400
    assert put_entry(server, good.model_copy(update={"payload": "e30="})) == 400
    assert put_entry(server, good.model_copy(update={"payload_type": "text/plain"})) == 400
    assert server.ask("PUT", f"/api/v1/entries/{KEY}", b"[" * 20_000).status == 400
    assert server.ask("PUT", f"/api/v1/entries/{KEY}", b"x" * 100_000).status == 413
    assert server.ask("GET", f"/api/v1/entries/{KEY}").json == {"entries": []}


def test_too_many_entries_for_one_key_are_refused(server: CacheServer, world: World) -> None:
    statuses = [put_entry(server, world.signed(renew_entry(ENTRY, ENTRY.version + number))) for number in range(1, 63)]
    assert statuses == [201] * 60 + [429] * 2


@pytest.mark.parametrize("body", ["{}", "[1, 2]", '["{}"]', '["nothing", "sig"]', '["[]", "sig"]', "x"])
def test_what_is_no_entry_of_slapos_is_refused(server: CacheServer, body: str) -> None:
    assert server.ask("PUT", "/dir/some:key", body).status == 400


def test_an_unsigned_entry_of_slapos_is_refused(server: CacheServer) -> None:
    answer = server.ask("PUT", "/dir/some:key", json.dumps(['{"sha512": "x"}', ""]))
    assert (answer.status, "not signed" in answer.json["brief"]) == (400, True)


def test_a_kill_during_uploads_leaves_nothing_partial(server: CacheServer) -> None:
    contents = [noise(20 * MIB) for _ in range(3)]

    def upload(content: bytes) -> int:
        try:
            return server.ask("PUT", f"/api/v1/blobs/{sha512(content)}", content).status
        except OSError:
            return 0

    for _ in range(3):
        with ThreadPoolExecutor(3) as pool:
            uploads = [pool.submit(upload, content) for content in contents]
            eventually(server.asides, 20, pause=0.002)
            server.kill()
            results = [each.result() for each in uploads]
        server.start()
        for content, status in zip(contents, results, strict=True):
            found = server.ask("GET", f"/cache/{sha512(content)}")
            assert found.body == content if found.status == 200 else status != 201
        for path in server.objects():
            assert sha512(path.read_bytes()) == path.name
        server.put(noise(100))
    assert [upload(content) in (200, 201) for content in contents] == [True] * 3
    time.sleep(1.1)  # what was left this very second may still be somebody's
    server.kill()
    server.start()
    assert server.asides() == []


def test_a_kill_during_a_download_is_made_good_by_the_rest(server: CacheServer) -> None:
    content = noise(64 * MIB)
    digest = server.put(content)
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.request("GET", f"/cache/{digest}")
    answer = connection.getresponse()
    got = answer.read(MIB)
    server.kill()
    try:
        while piece := answer.read1(MIB):
            got += piece
    except (OSError, http.client.HTTPException):
        pass
    connection.close()
    assert len(got) < len(content)
    server.start()
    rest = server.ask("GET", f"/cache/{digest}", Range=f"bytes={len(got)}-")
    assert rest.status == 206
    assert sha512(got + rest.body) == digest


def test_a_body_that_is_cut_off_leaves_nothing(server: CacheServer) -> None:
    with server.raw() as connection:
        connection.sendall(
            f"PUT /cache/{'0' * 128} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9000000\r\n\r\n".encode()
        )
        connection.sendall(noise(2 * MIB))
        eventually(server.asides)
    eventually(lambda: not server.asides())
    assert server.objects() == []
    eventually(lambda: server.status()["bytes"] == 0)


@pytest.mark.parametrize(
    "words",
    [
        b"",
        b"GET / HT",
        b"GET /health HTTP/1.1\r\nHost: x\r\nX-Slow: ",
    ],
)
def test_headers_that_never_end_are_not_waited_for(server: CacheServer, words: bytes) -> None:
    with server.raw() as connection:
        connection.sendall(words)
        assert is_closed_within(connection, 15)


def test_endless_headers_are_not_read(server: CacheServer) -> None:
    with server.raw() as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\n")
        with pytest.raises(OSError):
            for _ in range(2000):
                connection.sendall(b"X-More: " + b"x" * 5000 + b"\r\n")


def test_a_body_that_stalls_or_drips_is_given_up(server: CacheServer) -> None:
    head = f"PUT /cache/{'0' * 128} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9000000\r\n\r\n".encode()
    with server.raw() as stalled, server.raw() as dripping:
        stalled.sendall(head)
        dripping.sendall(head)
        stop = threading.Event()

        def drip() -> None:
            try:
                while not stop.wait(0.2):
                    dripping.sendall(b"x")
            except OSError:
                return

        dripper = threading.Thread(target=drip)
        dripper.start()
        try:
            assert b" 408 " in stalled.recv(4096)
            assert b" 408 " in dripping.recv(4096)
            assert is_closed_within(dripping, 15)
        finally:
            stop.set()
            dripper.join()
    assert (server.objects(), server.asides()) == ([], [])


def test_a_reader_that_takes_nothing_is_hung_up_on(server: CacheServer) -> None:
    digest = server.put(noise(64 * MIB))
    with server.raw() as connection:
        connection.sendall(f"GET /cache/{digest} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        eventually(lambda: not _connections(server), 20, pause=0.2)


def _connections(server: CacheServer) -> list[str]:
    """Of the server to its clients, that are established."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return [line for line in lines if line.split()[1].endswith(f":{server.port:04X}") and line.split()[3] == "01"]


def test_a_quota_and_a_limit_are_kept(tmp_path: Path) -> None:
    with cache_server(tmp_path, "quota = 3 MiB\nlargest = 2 MiB\n") as server:
        large = server.ask("PUT", f"/cache/{'0' * 128}", b"x" * (2 * MIB + 1))
        assert (large.status, large.json["kind"]) == (413, "too-large")
        endless = server.ask("PUT", f"/cache/{'0' * 128}", (noise(MIB) for _ in range(3)))
        assert endless.status == 413
        first = server.put(noise(2 * MIB))
        content = noise(2 * MIB)
        full = server.ask("PUT", f"/cache/{sha512(content)}", content)
        assert (full.status, full.json["kind"]) == (507, "storage-full")
        assert server.ask("POST", "/cache", content).status == 507
        assert server.put(noise(100))
        (server.folder / "data/objects/blob" / first[:2] / first).unlink()
        eventually(lambda: server.ask("PUT", f"/cache/{sha512(content)}", content).status == 201, 20, pause=1)


def test_who_may_write(server: CacheServer) -> None:
    content = noise(100)
    path = f"/api/v1/blobs/{sha512(content)}"
    assert server.status()["writes"] is True
    for headers in (
        {"Authorization": "Bearer cache:x"},
        {"Authorization": "Basic ???"},
        {"X-Forwarded-For": "1.2.3.4"},
        {"Host": "evil.example"},
    ):
        refused = server.ask("PUT", path, content, **headers)
        assert (refused.status, refused.json["kind"]) == (401, "unauthenticated")
        assert server.ask("PUT", "/dir/key", b'["{}", "sig"]', **headers).status == 401
        assert server.ask("POST", "/cache", content, **headers).status == 401
        assert server.ask("PUT", f"/api/v1/entries/{KEY}", b"{}", **headers).status == 401
    token = _token(server, "node 1")
    assert server.ask("PUT", path, content, Authorization=f"Bearer {token}", X_Forwarded_For="1.2.3.4").status == 201
    _type(server, "token", "node 1", "--revoke")
    assert server.ask("PUT", path, content, Authorization=f"Bearer {token}").status == 401


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be somebody else")
def test_another_user_of_the_machine_reads_and_does_not_write(server: CacheServer) -> None:
    curl = ("curl", "--silent", "--output", "/dev/null", "--write-out", "%{http_code}")
    asked = subprocess.run(
        as_nobody((*curl, "--request", "POST", "--data", "x", f"{server.url}/cache")), capture_output=True
    )
    assert asked.stdout == b"401"
    asked = subprocess.run(as_nobody((*curl, f"{server.url}/api/v1/status")), capture_output=True)
    assert asked.stdout == b"200"


def test_a_closed_cache_is_read_by_those_who_may_write(tmp_path: Path) -> None:
    with cache_server(tmp_path, "read = closed\n") as server:
        digest = server.put(b"secret")
        for path in (f"/cache/{digest}", f"/api/v1/entries/{KEY}", "/dir/key", "/api/v1/entries", "/api/v1/status"):
            assert server.ask("GET", path, X_Forwarded_For="1.2.3.4").status == 401
        token = _token(server, "reader")
        assert server.ask("GET", f"/cache/{digest}", Authorization=f"Bearer {token}").body == b"secret"


def test_two_servers_do_not_share_a_folder(server: CacheServer) -> None:
    done = subprocess.run(
        [SLAPOS, "cache", "serve", "--folder", server.folder / "data", "--port", "1"], capture_output=True, text=True
    )
    assert (done.returncode, "Another server uses" in done.stderr) == (1, True)


def test_garbage_goes_while_the_server_serves(server: CacheServer, world: World) -> None:
    content = empty_manifest()
    digest = server.put(content)
    server.put(noise(500))
    manifest = ENTRY.manifest.model_copy(update={"sha512": digest})
    assert put_entry(server, world.signed(entry(manifest=manifest, expires_at=int(time.time()) + 90))) == 201
    old = time.time() - 90 * 86_400
    for path in server.objects():
        os.utime(path, (old, old))
    dry = json.loads(_type(server, "gc", "--dry-run", "-f", "json", "--unused", "30"))
    assert [(row["what"], row["why"], row["number"]) for row in dry] == [
        ("blob", "no entry needs it", 2),
        ("entry", "unused", 1),
    ]
    assert len(server.objects()) == 3
    gone = json.loads(_type(server, "gc", "-f", "json"))
    assert [(row["what"], row["why"], row["number"], row["bytes"]) for row in gone] == [
        ("blob", "no entry needs it", 1, 500)
    ]
    assert server.ask("GET", f"/cache/{digest}").body == content


def test_it_ends_at_once_when_it_is_told_to(server: CacheServer) -> None:
    with server.raw():
        begun = time.monotonic()
        server.kill(signal.SIGTERM)
        assert time.monotonic() - begun < 8
    server.start()


def _token(server: CacheServer, name: str) -> str:
    return _type(server, "token", name).strip()


def _type(server: CacheServer, *words: str) -> str:
    done = subprocess.run(
        [SLAPOS, "cache", *words, "--cfg", server.folder / "cache.cfg"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
