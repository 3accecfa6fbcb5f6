"""Writing configuration: what is written where, and what is said of it."""

import stat
from pathlib import Path

import pytest

from slap.cli.configure.client import shadowed
from slap.client.config import read_configuration
from slap.master.settings_slapproxy import read_config
from slap.model.errors import Forbidden
from slap.node.core.config import read
from tests.unit.cli.fakes import FakeTransport, Shell

PAIR = {"certificate": "-----BEGIN CERTIFICATE-----\n", "key": "-----BEGIN PRIVATE KEY-----\n"}


def client(shell: Shell, *words: str) -> tuple[str, ...]:
    (shell.folder / "token").write_text("s3cret\n")
    (shell.folder / "token").chmod(0o600)
    return ("configure", "client", *words, "--token-file", "token", "--cfg", "mine.cfg")


@pytest.mark.parametrize("words", [("http://127.0.0.1:5000",), ("--master-url", "http://127.0.0.1:5000")])
def test_a_token_is_tried_and_written_for_its_owner_alone(shell: Shell, words: tuple[str, ...]) -> None:
    outcome = shell.run(FakeTransport({"GET /instances": [[]]}), *client(shell, *words))
    assert outcome.status == 0
    written = read_configuration(shell.folder / "mine.cfg")
    assert (written.master_url, written.token) == ("http://127.0.0.1:5000", "s3cret")


def test_a_token_that_the_master_refuses_is_not_written(shell: Shell) -> None:
    master = FakeTransport({"GET /instances": [Forbidden("No.")]})
    assert shell.run(master, *client(shell, "http://127.0.0.1:5000")).status == 1
    assert not (shell.folder / "mine.cfg").exists()


def test_a_nearer_configuration_is_named(shell: Shell) -> None:
    """The one of the small cloud, in var/standalone, is found before the one that was written."""
    outcome = shell.run(FakeTransport({"GET /instances": [[]]}), *client(shell, "http://127.0.0.1:5000"))
    assert f"{shell.folder}/var/standalone/client.cfg goes before it" in outcome.err
    assert f"--cfg {shell.folder}/mine.cfg" in outcome.err
    assert "goes before" not in shadowed(Path("mine.cfg"), None)


def test_a_token_is_exchanged_for_a_certificate(shell: Shell) -> None:
    master = FakeTransport({"POST /Person_getCertificate": [PAIR], "GET /instances": [[]]})
    words = client(shell, "https://master", "--master-url-web", "https://panel/")
    assert shell.run(master, *words).status == 0
    written = read_configuration(shell.folder / "mine.cfg")
    assert (written.certificate, written.key) == (shell.folder / "mine.crt", shell.folder / "mine.key")
    assert stat.S_IMODE((shell.folder / "mine.key").stat().st_mode) == 0o600
    assert (shell.folder / "mine.key").read_text() == PAIR["key"]


@pytest.mark.parametrize("web", [(), ("--master-url-web", "https://panel")])
def test_the_authority_of_the_master_is_kept(shell: Shell, web: tuple[str, ...]) -> None:
    master = FakeTransport({"POST /Person_getCertificate": [PAIR], "GET /instances": [[]]})
    assert shell.run(master, *client(shell, "https://master", "--ca-file", "ca.crt", *web)).status == 0
    assert read_configuration(shell.folder / "mine.cfg").authority == (shell.folder / "ca.crt").resolve()


def test_a_token_that_is_not_accepted_leaves_nothing(shell: Shell) -> None:
    master = FakeTransport({"POST /Person_getCertificate": [Forbidden("No.")]})
    outcome = shell.run(master, *client(shell, "https://master", "--master-url-web", "https://panel"))
    assert outcome.status == 1
    assert "does not accept the token" in outcome.err
    assert not (shell.folder / "mine.cfg").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("http://m", "--token", "s3cret"), "does not belong on the command line"),
        (("m:5000",), "not the URL of a master"),
        ((), "required"),
        (("http://a", "--master-url", "http://b"), "not allowed with"),
    ],
)
def test_wrong_words_are_refused(shell: Shell, words: tuple[str, ...], said: str) -> None:
    outcome = shell.run(FakeTransport({}), "configure", "client", *words, "--cfg", "mine.cfg")
    assert outcome.status == 2
    assert said in outcome.err


def test_a_master_and_a_node_are_configured_in_one_folder(shell: Shell) -> None:
    root = shell.folder / "n"
    words = ("configure", "local", "--root", "n", "--partition-number", "3", "--daemon-listen-port", "8081")
    outcome = shell.run(FakeTransport({}), *words)
    assert outcome.status == 0
    assert f"slapos proxy start --cfg {root}/etc/slapos-proxy.cfg" in outcome.err
    assert read_configuration(shell.folder / "home/.slapos/slapos-client.cfg").master_url == "http://127.0.0.1:8081"
    node = read(root / "etc/slapos.cfg")
    assert (node.master_url, node.computer_id) == ("http://127.0.0.1:8081", "local_computer")
    assert (node.format.partition_amount, node.software_root, node.instance_root) == (3, root / "opt", root / "srv")
    path = root / "etc/slapos-proxy.cfg"
    proxy = read_config(path.read_text(), path)
    assert (proxy.host, proxy.port, proxy.computer_id) == ("127.0.0.1", 8081, "local_computer")
    assert proxy.database == root / "slapproxy.db"


def test_a_configured_client_keeps_its_master(shell: Shell) -> None:
    client = shell.folder / "home/.slapos/slapos-client.cfg"
    client.parent.mkdir(parents=True)
    client.write_text("[slapos]\nmaster_url = http://127.0.0.1:1\n")
    outcome = shell.run(FakeTransport({}), "configure", "local", "--root", "n")
    assert (outcome.status, read_configuration(client).master_url) == (0, "http://127.0.0.1:1")
    assert f"--cfg {shell.folder}/n/etc/slapos.cfg" in outcome.err


def test_a_node_that_is_configured_stays_as_it_is(shell: Shell) -> None:
    words = ("configure", "local", "--root", "n", "--slapos-instance-root", str(shell.folder / "srv"))
    assert shell.run(FakeTransport({}), *words).status == 0
    before = (shell.folder / "n/etc/slapos.cfg").read_text()
    assert str(shell.folder / "srv") in before
    outcome = shell.run(FakeTransport({}), "configure", "local", "--root", "n", "--partition-number", "9")
    assert outcome.status == 1
    assert "exists already" in outcome.err
    assert (shell.folder / "n/etc/slapos.cfg").read_text() == before
