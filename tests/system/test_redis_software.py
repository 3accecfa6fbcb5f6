"""The release software/redis is built from source, and what it builds is a Redis that runs."""

import socket
import time
from pathlib import Path

from slap.system.process import Command, SystemRunner, kill_session, start_daemon
from tests.system import releases
from tests.system.releases import Release

SOURCE = Path(__file__).parents[2] / "software" / "redis"
DEADLINE = 20  # seconds


def build(folder: Path) -> Release:
    release = releases.make(folder)
    head = f"[buildout]\nextends = {SOURCE}/software.cfg\n[slap-software]\nbase = {SOURCE}\n"
    release.build(head).check()
    return release


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answer(client: Path, port: int, *words: str) -> str:
    """What the server says, once it listens."""
    command = Command((str(client), "-p", str(port), *words), env={}, timeout=5)
    until = time.monotonic() + DEADLINE
    while (ended := SystemRunner().run(command)).status and time.monotonic() < until:
        time.sleep(0.05)
    return ended.check().stdout.strip()


def test_redis_is_built_from_debians_source_with_debians_fixes_and_runs(tmp_path: Path) -> None:
    release = build(tmp_path)
    programs = release.part("redis") / "bin"
    assert f"command = {programs}/redis-server\n" in (release.folder / "instance.cfg").read_text()
    log = (release.folder / "parts" / ".log" / "redis.log").read_text()
    assert "patching file src/" in log
    port = free_port()
    argv = (str(programs / "redis-server"), "--port", str(port), "--bind", "127.0.0.1", "--save", "")
    server = start_daemon(argv, {}, tmp_path, tmp_path / "server.log")
    try:
        assert answer(programs / "redis-cli", port, "ping") == "PONG"
        assert "redis_version:7.0.15" in answer(programs / "redis-cli", port, "info", "server")
    finally:
        kill_session(server)
