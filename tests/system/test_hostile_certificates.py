"""Holders of revoked certificates at a cache whose authority is a master's."""

import signal
import ssl
from contextlib import ExitStack
from pathlib import Path

from slap.master.access.auth import CallerKind
from slap.master.access.authority import in_pem, key_in_pem, new_key
from slap.master.database.engine import database_url, migrate
from slap.master.service.accounts import revoke_all, user_certificate
from slap.master.tls import read_authority
from tests.contract.master.secure import Secure, secure_master
from tests.system.cache_server import CacheServer, cache_server, noise, sha512
from tests.system.cloud import eventually


def put(server: CacheServer, content: bytes) -> tuple[int, str]:
    answer = server.ask("PUT", f"/api/v1/blobs/{sha512(content)}", content)
    return answer.status, answer.body.decode()


def shown(secure: Secure, pem: str, name: str) -> ssl.SSLContext:
    """TLS with the certificate of a client."""
    (secure.folder / name).write_text(pem)
    context = ssl.create_default_context(cafile=str(secure.authority))
    context.load_cert_chain(secure.folder / name)
    return context


def test_a_revoked_certificate_is_refused_with_and_without_the_master(tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path}/master.sqlite"
    migrate(database_url(database))
    with ExitStack() as master:
        secure = master.enter_context(secure_master(database, tmp_path))
        thief, other = (
            shown(secure, user_certificate(database, name, 3600), f"{name}.pem") for name in ("thief", "other")
        )
        key = new_key()
        served = read_authority(secure.settings).sign_server(["127.0.0.1"], key.public_key(), 3600)
        (tmp_path / "server.pem").write_text(key_in_pem(key) + in_pem(served))
        settings = (
            f"certificate = server.pem\nauthority = {secure.authority}\n"
            f"revocations = {secure.url}/api/v1/authority/revocations\nrevocations_seconds = 0.2\n"
        )
        with cache_server(tmp_path, settings, thief) as server:
            eventually(lambda: put(server, b"before")[0] in (200, 201))
            revoke_all(database, CallerKind.USER, "thief")
            eventually(lambda: put(server, noise(10))[0] == 401)
            assert "revoked by its authority" in put(server, noise(10))[1]
            server.tls = other
            assert put(server, noise(10))[0] == 201
            master.close()
            server.kill(signal.SIGTERM)
            server.start()
            assert put(server, noise(10))[0] == 201, "by the list of before"
            server.tls = thief
            assert put(server, noise(10))[0] == 401, "by the list of before"
            eventually(lambda: "was not taken from" in (tmp_path / "log").read_text())
