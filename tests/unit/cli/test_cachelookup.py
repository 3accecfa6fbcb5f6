"""What a cache says it has, asked over HTTP of a directory that answers as a shadir does."""

import base64
import json
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from slap.cli.cachelookup.command import this_machine
from slap.cli.cachelookup.slapos_entries import (
    Machine,
    load_certificates,
    package_key,
    parse_entries,
    release_key,
    url_key,
)
from slap.master.access.authority import in_pem, key_in_pem, new_authority, new_key
from slap.model.errors import InvalidInput, Unreachable
from tests.unit.cli.fakes import START, FakeTransport, Outcome, Shell

URL = "http://releases/web/software.cfg"


class Shadir(BaseHTTPRequestHandler):
    """GET /dir/KEY from a table."""

    entries: ClassVar[dict[str, str]] = {}

    def do_GET(self) -> None:
        text = self.entries.get(self.path.removeprefix("/dir/"))
        self.send_response(404 if text is None else 200)
        self.end_headers()
        self.wfile.write((text or "").encode())

    def log_message(self, *_: Any) -> None:
        """Quiet."""


@pytest.fixture
def shadir() -> Iterator[str]:
    Shadir.entries.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Shadir) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/dir"
        server.shutdown()


@pytest.fixture
def tls_shadir(shell: Shell) -> Iterator[str]:
    """The same over HTTPS; its authority is ca.pem."""
    authority, key = new_authority(), new_key()
    (shell.folder / "ca.pem").write_text(authority.certificate)
    certificate = in_pem(authority.sign_server(("localhost",), key.public_key(), 3600))
    (shell.folder / "server.pem").write_text(key_in_pem(key) + certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(shell.folder / "server.pem")
    Shadir.entries.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Shadir) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"https://localhost:{server.server_port}/dir"
        server.shutdown()


@dataclass(frozen=True)
class Signer:
    """Somebody with a key, who signs as SlapOS does."""

    key: rsa.RSAPrivateKey
    certificate: str

    def entry(self, **content: Any) -> list[str]:
        text = json.dumps(content)
        signature = self.key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA1())
        return [text, base64.b64encode(signature).decode()]


@pytest.fixture(scope="module")
def signer() -> Signer:
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "builder")])
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
    made = made.not_valid_before(START).not_valid_after(START + timedelta(days=1))
    return Signer(key, made.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode())


def find_entries(shell: Shell, shadir: str, certificate: str, *words: str) -> Outcome:
    indented = certificate.strip().replace("\n", "\n  ")
    (shell.folder / "slapos.cfg").write_text(
        f"[networkcache]\ndownload-dir-url = {shadir}\ndownload-binary-dir-url = {shadir}/\n"
        f"signature-certificate-list =\n  {indented}\n"
    )
    return shell.run(FakeTransport({}), "cachelookup", *words, "--cfg", "slapos.cfg")


def test_builds_of_a_release_are_shown_with_who_signed_them_and_whether_they_fit(
    shell: Shell, shadir: str, signer: Signer
) -> None:
    here = this_machine()
    ours = signer.entry(sha512="ab" * 64, multiarch=here.multiarch, os=here.distribution, software_url=URL)
    other = signer.entry(sha512="cd" * 64, multiarch="sparc-linux-gnu", os=["debian", "12", ""])
    forged = [other[0], ours[1]]
    Shadir.entries[release_key(URL)] = json.dumps([ours, forged, ["[]", ""], [other[0], "%"]])
    outcome = find_entries(shell, shadir, signer.certificate, "binary-sr", URL, "-f", "json")
    assert outcome.status == 0
    rows = {(row["multiarch"], row["compatible"], row["verified"]) for row in json.loads(outcome.out)}
    assert rows == {(here.multiarch, True, True), ("sparc-linux-gnu", False, False)}
    table = find_entries(shell, shadir, signer.certificate, "binary-sr", release_key(URL)).out
    assert "by CN=builder" in table
    assert "abababababab\n" in table


def test_packages_and_files_have_keys_of_their_own(shell: Shell, shadir: str, signer: Signer) -> None:
    Shadir.entries[package_key("web", "1.0")] = json.dumps([signer.entry(sha512="ab", basename="web-1.0.tar.gz")])
    Shadir.entries[url_key("http://files/a")] = json.dumps([["{}", ""]])
    assert "web-1.0.tar.gz" in find_entries(shell, shadir, signer.certificate, "pypi", "web", "1.0").out
    assert (
        json.loads(find_entries(shell, shadir, "", "url", "http://files/a", "-f", "json").out)[0]["verified"] is False
    )
    assert url_key("http://files/a").startswith("file-urlmd5:")


@pytest.mark.parametrize(
    ("answer", "status", "said"),
    [
        (None, 1, "The cache does not have http://releases/web/software.cfg"),
        ("[]", 0, "has nothing under it"),
        ("<html>", 1, "something else than entries"),
        ('[["{}"]]', 1, "something else than entries"),
    ],
)
def test_what_is_not_there_is_said(shell: Shell, shadir: str, answer: str | None, status: int, said: str) -> None:
    if answer is not None:
        Shadir.entries[release_key(URL)] = answer
    outcome = find_entries(shell, shadir, "", "binary-sr", URL)
    assert (outcome.status, outcome.out) == (status, "")
    assert said in outcome.err


def test_without_a_cache_it_is_said_what_to_configure(shell: Shell) -> None:
    outcome = find_entries(shell, "", "", "url", URL)
    assert outcome.status == 1
    assert "No cache is configured" in outcome.err
    assert "download-binary-dir-url = http://CACHE/dir" in outcome.err


def test_a_cache_that_is_away_is_named(shell: Shell) -> None:
    outcome = find_entries(shell, "http://127.0.0.1:9/dir", "", "url", URL)
    assert outcome.status == 1
    assert "http://127.0.0.1:9/dir" in outcome.err


def test_all_directories_are_asked(shell: Shell, shadir: str, signer: Signer) -> None:
    Shadir.entries[url_key("http://files/a")] = json.dumps([signer.entry(sha512="ab")])
    away = "http://127.0.0.1:9/dir"
    outcome = find_entries(shell, f"{away}\n  {shadir}", "", "url", "http://files/a", "-f", "json")
    assert outcome.status == 0 and len(json.loads(outcome.out)) == 1 and f"from {away[:-4]}" in outcome.err


def test_one_url_says_where_a_whole_cache_is(shell: Shell, shadir: str, signer: Signer) -> None:
    Shadir.entries[package_key("web", "1.0")] = json.dumps([signer.entry(sha512="ab", basename="web-1.0.tar.gz")])
    (shell.folder / "slapos.cfg").write_text(f"[networkcache]\ncache-url = {shadir.removesuffix('/dir')}\n")
    outcome = shell.run(FakeTransport({}), "cachelookup", "pypi", "web", "1.0", "--cfg", "slapos.cfg")
    assert outcome.status == 0 and "web-1.0.tar.gz" in outcome.out


def test_the_authority_of_a_cache_counts(shell: Shell, tls_shadir: str) -> None:
    Shadir.entries[url_key("http://files/a")] = json.dumps([["{}", ""]])
    for option, status in (("shadir-ca-file = ca.pem\n", 0), ("shacache-ca-file = ca.pem\n", 0), ("", 1)):
        option = option.replace("ca.pem", str(shell.folder / "ca.pem"))
        (shell.folder / "slapos.cfg").write_text(f"[networkcache]\ndownload-dir-url = {tls_shadir}\n{option}")
        outcome = shell.run(FakeTransport({}), "cachelookup", "url", "http://files/a", "--cfg", "slapos.cfg")
        assert outcome.status == status, outcome


@pytest.mark.parametrize(
    ("one", "other", "fits"),
    [
        (("debian", "12.4", "bookworm"), ("debian", "12", ""), True),
        (("Raspbian", "12", ""), ("debian", "12.1", ""), True),
        (("debian", "11", ""), ("debian", "12", ""), False),
        (("ubuntu", "24.04", "noble"), ("ubuntu", "24.10", "noble"), False),
    ],
)
def test_releases_of_debian_differ_by_their_first_number(
    one: tuple[str, str, str], other: tuple[str, str, str], fits: bool
) -> None:
    assert Machine("x86_64-linux-gnu", one).fits(Machine("x86_64-linux-gnu", other)) is fits
    assert not Machine("x86_64-linux-gnu", one).fits(Machine("aarch64-linux-gnu", other))


def test_certificates_that_are_none_are_refused(tmp_path: Path) -> None:
    assert load_certificates("") == []
    with pytest.raises(InvalidInput):
        load_certificates("nonsense")
    with pytest.raises(Unreachable):
        parse_entries("{}", [])
