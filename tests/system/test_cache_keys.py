"""A signing key is replaced by its own word, and then revoked: typed on two nodes that share a cache."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from slap.cli.main import World, main
from slap.node.core.config import NodeConfig, default_root, write
from tests.system.cache_server import cache_server
from tests.system.cloud import short_folder


def add_node(folder: Path, url: str) -> str:
    root = default_root(folder)
    cfg = folder / "slapos.cfg"
    write(cfg, NodeConfig(**root, networkcache={"cache-url": url, "upload-url": url}))
    return str(cfg)


@pytest.fixture
def folder() -> Iterator[Path]:
    with short_folder() as found:
        yield found


def test_a_key_names_its_successor_and_is_revoked(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def slapos(*words: str, status: int = 0) -> str:
        assert main(words, World(folder=folder, home=folder)) == status, capsys.readouterr()
        return capsys.readouterr().out

    def trusted(cfg: str) -> dict[str, Any]:
        return {row["id"]: row for row in json.loads(slapos("cache", "trust", "--cfg", cfg, "-f", "json"))}

    (folder / "cache").mkdir()
    with cache_server(folder / "cache") as server:
        builder, follower, careful = (add_node(folder / name, server.url) for name in ("a", "b", "c"))
        former = slapos("cache", "keygen", "old", "--comment", "old").strip()
        slapos("cache", "keygen", "new", "--comment", "new")
        slapos("cache", "trust", "--cfg", follower, "--follow", former)
        slapos("cache", "trust", "--cfg", careful, former)
        slapos("cache", "successor", "--cfg", builder, "--key-file", "old", former, status=2)
        slapos("cache", "successor", "--cfg", builder, "--key-file", "old", "new.pub")
        for cfg in (follower, careful):
            slapos("cache", "info", "--cfg", cfg, "https://example.com/software.cfg", status=1)
        assert [row["comment"] for row in trusted(careful).values()] == ["old"]
        found = {row["comment"]: row["limits"] for row in trusted(follower).values()}
        assert found["old"] == "replaced"
        assert found["new"].startswith("named by")
        slapos("cache", "revoke", "--cfg", builder, "--key-file", "old", "--reason", "stolen")
        slapos("cache", "info", "--cfg", follower, "https://example.com/software.cfg", status=1)
        assert [row["trusted"] for row in trusted(follower).values()] == ["revoked", "revoked"]
