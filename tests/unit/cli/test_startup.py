"""What a short command loads. Each that is typed pays for it; time itself is measured by bench/, not here."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

# What only some commands need: a third of a second and more, if all came along.
HEAVY = {
    "alembic", "asyncio", "cryptography", "fastapi", "jinja2", "jsonschema_rs", "lxml", "multiprocessing", "prettytable",
    "psycopg", "pyroute2", "requests", "rich.console", "rich.live", "sqlalchemy", "starlette", "supervisor", "urllib3",
    "uvicorn", "xml", "yaml", "zc.buildout", "slap.client.slapos", "slap.master", "slap.node", "slap.recipes",
}  # fmt: skip
# What the first look at a command line needs none of.
MODELS = {"pydantic", "rich", "http.client", "ssl"}

LOAD = """\
import json, sys
from slap.cli.main import main
status = main(sys.argv[1:])
print(json.dumps([status, sorted(sys.modules)]))
"""


class EmptyMaster(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"[]")

    def log_message(self, *_: Any) -> None:
        """Quiet."""


@pytest.fixture(scope="module")
def master() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), EmptyMaster) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def loaded_by(*words: str) -> set[str]:
    done = subprocess.run([sys.executable, "-c", LOAD, *words], capture_output=True, text=True, timeout=60, check=True)
    status, modules = json.loads(done.stdout.splitlines()[-1])
    assert status == 0, done.stderr
    return set(modules)


def among(modules: set[str], unwanted: set[str]) -> list[str]:
    return sorted(each for each in unwanted if each in modules)


def test_a_list_of_services_loads_only_what_it_shows(master: str, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("t")
    os.chmod(tmp_path / "token", 0o600)
    cfg = tmp_path / "client.cfg"
    cfg.write_text(f"[slapos]\nmaster_url = {master}\n[client]\ntoken_file = token\n")
    loaded = loaded_by("service", "list", "--cfg", str(cfg))
    assert "slap.client.native" in loaded
    assert among(loaded, HEAVY) == []


def test_the_version_and_the_overview_load_no_models() -> None:
    for words in ((), ("--version",)):
        assert among(loaded_by(*words), HEAVY | MODELS) == []


def test_looking_at_a_node_and_starting_a_master_load_what_they_use() -> None:
    """What talks to the kernel, to PostgreSQL, and to servers of releases is loaded by who does that."""
    assert among(loaded_by("node", "status", "--help"), HEAVY - {"slap.node", "supervisor", "xml"}) == []
    assert among(loaded_by("node", "instance", "--help"), {"psycopg", "pyroute2", "sqlalchemy", "zc.buildout"}) == []
    assert among(loaded_by("master", "start", "--help"), {"psycopg", "pyroute2", "requests", "zc.buildout"}) == []
