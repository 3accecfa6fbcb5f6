"""Downloads that are checked by their digest."""

import hashlib
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from slap.model.errors import SlapError, Unreachable
from slap.recipes.common.source import name_in
from slap.recipes.download import Recipe
from slap.system.clock import FakeClock
from slap.system.fetch import Download, TooLarge, WrongDigest, fetch
from tests.unit.recipes.parts import failure, part_of, refusal

CONTENT = os.urandom(100_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(HTTPServer):
    """Serves CONTENT; breaks off after `breaks` bytes of an answer as long as there are any in the list."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.breaks: list[int] = []
        self.asked: list[str | None] = []
        self.encoding = ""
        self.url = f"http://127.0.0.1:{self.server_address[1]}/file.tar"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        wanted = self.headers["Range"]
        self.server.asked.append(wanted)
        if self.path == "/missing":
            self.send_error(404)
            return
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        self.send_response((206 if wanted else 200) if start < len(CONTENT) else 416)
        self.send_header("Content-Length", str(max(0, len(CONTENT) - start)))
        if self.server.encoding:
            self.send_header("Content-Encoding", self.server.encoding)
        self.end_headers()
        end = start + self.server.breaks.pop(0) if self.server.breaks else None
        self.wfile.write(CONTENT[start:end])

    def log_message(self, *_: object) -> None:
        """Silence."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        yield running
        running.shutdown()


def get(folder: Path, url: str, sha256: str = SHA256, most_bytes: int = 1 << 20) -> bytes:
    return fetch(Download(url, sha256, most_bytes), folder, lambda line: None, FakeClock()).read_bytes()


def test_a_download_goes_on_where_it_broke_off(server: Server, tmp_path: Path) -> None:
    server.breaks = [40_000, 30_000]
    assert get(tmp_path, server.url) == CONTENT
    assert server.asked == [None, "bytes=40000-", "bytes=70000-"]


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "br", "deflate", "zstd"])
def test_a_suffix_that_a_server_takes_for_an_encoding_changes_nothing(
    encoding: str, server: Server, tmp_path: Path
) -> None:
    server.encoding = encoding
    assert get(tmp_path, server.url) == CONTENT


def test_the_next_run_goes_on_after_one_that_gave_up(server: Server, tmp_path: Path) -> None:
    server.breaks = [10_000] * 4
    with pytest.raises(Unreachable, match=r"4 attempts.*\n"):
        get(tmp_path, server.url)
    assert get(tmp_path, server.url) == CONTENT
    assert server.asked[-1] == "bytes=40000-"


def test_what_was_fetched_is_not_fetched_again(server: Server, tmp_path: Path) -> None:
    get(tmp_path, server.url)
    assert get(tmp_path, server.url) == CONTENT
    assert len(server.asked) == 1


def test_a_damaged_cache_is_not_used(server: Server, tmp_path: Path) -> None:
    (tmp_path / SHA256).write_bytes(b"damaged")
    assert get(tmp_path, server.url) == CONTENT


def test_leftovers_of_something_else_do_not_last(server: Server, tmp_path: Path) -> None:
    (tmp_path / f".{SHA256}.partial").write_bytes(b"x" * 200_000)
    with pytest.raises(WrongDigest):
        get(tmp_path, server.url)
    assert get(tmp_path, server.url) == CONTENT


def test_a_wrong_digest_is_told_with_the_right_one(server: Server, tmp_path: Path) -> None:
    with pytest.raises(WrongDigest) as caught:
        get(tmp_path, server.url, "0" * 64)
    for words in (server.url, "0" * 64, SHA256):
        assert words in str(caught.value)
    assert not (tmp_path / ("0" * 64)).exists()


@pytest.mark.parametrize(("path", "error"), [("/missing", Unreachable), ("/file.tar", TooLarge)])
def test_there_is_no_second_attempt_where_it_would_not_help(
    path: str, error: type[SlapError], server: Server, tmp_path: Path
) -> None:
    with pytest.raises(error):
        get(tmp_path, server.url.replace("/file.tar", path), most_bytes=1000)
    assert len(server.asked) == 1


def test_a_long_download_tells_how_far_it_is(server: Server, tmp_path: Path) -> None:
    class Slow(FakeClock):
        def monotonic(self) -> float:
            self.sleep(6)
            return self.seconds

    said: list[str] = []
    fetch(Download(server.url, SHA256), tmp_path, said.append, Slow())
    assert said and said[0].startswith("Downloading file.tar: ")


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    said = refusal(Recipe, tmp_path, url="ftp://x/y", mode="9", strip="a", unpack="perhaps", filename="a/b")
    for option in ("url", "sha256", "mode", "strip", "unpack", "filename"):
        assert f"- option {option} " in said
    assert "[it]" in said


def test_a_file_is_put_into_the_part_with_its_mode(tmp_path: Path) -> None:
    (tmp_path / "tool").write_bytes(CONTENT)
    part = part_of(Recipe, tmp_path, url="tool", sha256=SHA256, mode="755")
    assert part.install() == [str(tmp_path / "parts" / "it")]
    placed = Path(part.options["target"])
    assert (placed.read_bytes(), placed.stat().st_mode & 0o777) == (CONTENT, 0o755)


def test_a_part_that_fails_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "tool").write_bytes(b"changed")
    assert "expected: " in failure(part_of(Recipe, tmp_path, url="tool", sha256=SHA256))


def test_offline_nothing_is_asked_of_the_network(server: Server, tmp_path: Path) -> None:
    part = part_of(Recipe, tmp_path, url=server.url, sha256=SHA256)
    part.offline = True
    assert "buildout is offline" in failure(part)
    get(tmp_path / "cache" / "sha256", server.url)
    assert part.install()


def test_an_update_makes_only_what_somebody_removed(tmp_path: Path) -> None:
    (tmp_path / "tool").write_bytes(CONTENT)
    part = part_of(Recipe, tmp_path, url="tool", sha256=SHA256)
    part.install()
    before = part.location.stat().st_ino
    part.update()
    assert part.location.stat().st_ino == before
    (part.location / "tool").unlink()
    part.location.rmdir()
    assert part.update() and (part.location / "tool").exists()


@pytest.mark.parametrize(
    ("url", "name"),
    [("http://h/a/b.tar.gz?x=1", "b.tar.gz"), ("http://h/%2e%2e", None), ("http://h/", None), ("http://h/a%2fb", None)],
)
def test_a_file_is_called_as_its_url_unless_that_is_no_name(url: str, name: str | None) -> None:
    assert name_in(url) == (name or hashlib.sha256(url.encode()).hexdigest()[:16])
