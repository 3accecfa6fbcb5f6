"""The unmodified client of slapos.libnetworkcache with our server: over HTTP, and over HTTPS with certificates."""

import json
import ssl
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from slap.master.access.authority import CertificateAuthority, common_name, in_pem, key_in_pem, new_authority, new_key
from tests.system.cache_server import CacheServer, cache_server, noise, sha512
from tests.system.slapos_peer import installed

KEY = "slapos-buildout-0123456789abcdef"

SCRIPT = """
import json, logging, sys
from slapos.libnetworkcache import NetworkcacheClient
logging.basicConfig(level=logging.INFO)
config, action, *words = sys.argv[1:]
client = NetworkcacheClient(open(config))
if action == "upload":
    with open(words[0], "rb") as file:
        print(client.upload(file, words[1], **json.loads(words[2])))
elif action == "select":
    print(json.dumps(list(client.select(words[0], json.loads(words[1])))))
elif action == "download":
    with open(words[1], "wb") as file:
        answer = client.download(words[0])
        while piece := answer.read(65536):
            file.write(piece)
"""


class FormerClient:
    """Their client as a program, with a key of its own."""

    def __init__(self, folder: Path, url: str, tls: str = "") -> None:
        self.folder = folder
        (folder / "client.py").write_text(SCRIPT)
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        (folder / "signing.key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
            )
        )
        certificate = _self_signed(key).replace("\n", "\n  ")
        ways = "\n".join(
            f"{way}-{what}-url = {url}/{what}" for way in ("download", "upload") for what in ("cache", "dir")
        )
        (folder / "client.cfg").write_text(
            f"[networkcache]\n{ways}\n{tls}signature-private-key-file = {folder}/signing.key\n"
            f"signature-certificate-list =\n  {certificate}\n"
        )

    def run(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        python = installed() / "python"
        argv: list[str | Path] = [python, self.folder / "client.py", self.folder / "client.cfg", *words]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=120)
        assert not check or done.returncode == 0, done.stderr
        return done

    def upload(self, content: bytes, about: dict[str, Any]) -> str:
        (self.folder / "content").write_bytes(content)
        return self.run("upload", str(self.folder / "content"), KEY, json.dumps(about)).stdout.strip()

    def select(self, **wanted: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.run("select", KEY, json.dumps(wanted)).stdout)
        return found

    def download(self, digest: str) -> bytes:
        self.run("download", digest, str(self.folder / "fetched"))
        return (self.folder / "fetched").read_bytes()


def go_round(client: FormerClient, server: CacheServer) -> None:
    """Uploads by two kinds of machines, and what is found and fetched then."""
    contents = {machine: noise(3 << 20) for machine in ("x86_64-linux-gnu", "aarch64-linux-gnu")}
    for machine, content in contents.items():
        assert client.upload(content, {"multiarch": machine, "os": ["debian", "12", ""]}) == sha512(content)
    assert [each["multiarch"] for each in client.select()] == ["aarch64-linux-gnu", "x86_64-linux-gnu"]
    for machine, content in contents.items():
        (found,) = client.select(multiarch=machine)
        assert client.download(found["sha512"]) == content
    assert client.upload(contents["x86_64-linux-gnu"], {"multiarch": "again", "os": []})
    assert len(server.objects()) == 5  # two blobs, three entries


def test_it_uploads_and_downloads_over_http(tmp_path: Path) -> None:
    with cache_server(tmp_path) as server:
        client = FormerClient(tmp_path, server.url)
        go_round(client, server)
        lost = client.run("select", "unknown-key", "{}", check=False)
        assert "HTTP Error 404" in lost.stderr


@pytest.fixture(scope="module")
def authority() -> CertificateAuthority:
    return new_authority()


def test_it_uploads_and_downloads_by_certificate(tmp_path: Path, authority: CertificateAuthority) -> None:
    key = new_key()
    (tmp_path / "authority.pem").write_text(authority.certificate)
    served = authority.sign_server(["127.0.0.1"], key.public_key(), 86_400)
    (tmp_path / "server.pem").write_text(key_in_pem(key) + in_pem(served))
    for name, by in (("known", authority), ("stranger", new_authority())):
        shown = by.sign_client(common_name("computer", name), f"urn:slap:{name}", key.public_key(), 86_400)
        (tmp_path / f"{name}.pem").write_text(key_in_pem(key) + in_pem(shown))
    context = ssl.create_default_context(cafile=str(tmp_path / "authority.pem"))
    settings = "certificate = server.pem\nauthority = authority.pem\n"
    with cache_server(tmp_path, settings, context) as server:
        url = server.url.replace("http:", "https:")
        go_round(FormerClient(tmp_path, url, _tls(tmp_path, "known")), server)
        (tmp_path / "other").mkdir()
        stranger = FormerClient(tmp_path / "other", url, _tls(tmp_path, "stranger"))
        assert stranger.run("select", KEY, "{}", check=False).returncode != 0
        # Of this machine, but not straight from it, and without a certificate.
        assert server.ask("POST", "/cache", b"x", X_Forwarded_For="1.2.3.4").status == 401


def _tls(folder: Path, name: str) -> str:
    lines = (
        f"sha{what}-{kind}-file = {folder}/{file}.pem\n"
        for what in ("cache", "dir")
        for kind, file in (("ca", "authority"), ("cert", name), ("key", name))
    )
    return "".join(lines)


def _self_signed(key: rsa.RSAPrivateKey) -> str:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "builder")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM).decode()
