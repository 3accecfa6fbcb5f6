"""The server with its storage on a real S3 server, named by URL, with credentials in a file."""

import json
import subprocess
from pathlib import Path

from tests.contract.cache.s3_server import BUCKET, running_s3
from tests.system.cache_server import CacheServer, noise, sha512
from tests.system.typed import SLAPOS


def test_blobs_and_entries_lie_on_s3(tmp_path: Path) -> None:
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws/credentials").write_text(
        "[default]\naws_access_key_id = S3RVER\naws_secret_access_key = S3RVER\n"
    )
    (tmp_path / "s3").mkdir()
    with running_s3(tmp_path / "s3") as endpoint:
        server = CacheServer(tmp_path, f"storage = s3://{BUCKET}/slap?endpoint={endpoint}\n", home=tmp_path)
        server.start()
        try:
            content = noise(21 << 20)
            digest = server.put(content)
            assert server.ask("GET", f"/cache/{digest}").body == content
            part = server.ask("GET", f"/cache/{digest}", Range="bytes=5000000-5000009")
            assert part.body == content[5000000:5000010]
            wrong = server.ask("PUT", f"/cache/{'0' * 128}", content)
            assert (wrong.status, server.ask("GET", f"/cache/{'0' * 128}").status) == (400, 404)
            assert server.ask("POST", "/cache", b"small").body.decode() == sha512(b"small")
            entry = json.dumps([json.dumps({"sha512": digest}), "c2ln"])
            assert server.ask("PUT", "/dir/some:key", entry).status == 201
            assert server.ask("GET", "/dir/some:key").json == [json.loads(entry)]
        finally:
            server.kill()
        cleaned = subprocess.run(
            [SLAPOS, "cache", "gc", "--cfg", tmp_path / "cache.cfg", "--dry-run", "-f", "json"],
            env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert (cleaned.returncode, json.loads(cleaned.stdout)) == (0, []), cleaned.stderr
        assert "Would stay: 3 objects" in cleaned.stderr
    assert not (tmp_path / "data/objects").exists()
