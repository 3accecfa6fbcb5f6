"""A master with TLS, and nodes that are known to it by certificates: typed as an operator types it."""

import time
from collections.abc import Iterator

import pytest

from slap.system.trust.certificates import validity
from tests.system.cloud import HELLOWORLD, eventually
from tests.system.secure_cloud import SecureCloud, secure_cloud

# Seconds that a certificate lives in the test of renewal: nobody waits for 90 days.
_SHORT_LIFE = 24


@pytest.fixture
def cloud() -> Iterator[SecureCloud]:
    with secure_cloud() as found:
        yield found


def order(cloud: SecureCloud, name: str) -> None:
    cloud.slapos("request", name, str(HELLOWORLD), "--timeout", "120")


def test_a_node_registers_by_a_token_and_serves(cloud: SecureCloud) -> None:
    with cloud.serving():
        cloud.configure()
        token = cloud.slapos("computer", "token", "--title", "box").stdout
        assert cloud.register(token, "another", check=False).status == 1
        assert cloud.register(token[:-5], check=False).status == 1
        assert cloud.register(token[:-5] + "0000\n", check=False).stderr.count("not the master") == 1
        cloud.register(token)
        again = cloud.register(token, check=False)
        assert again.status == 1
        assert "slapos computer token" in again.stderr
        kept = cloud.folder / "node/etc/computer.pem"
        assert kept.stat().st_mode & 0o777 == 0o600
        assert not (cloud.folder / "node/etc/computer.token").exists()
        cloud.slapos("node", "format", "--cfg", str(cloud.node_cfg))
        with cloud.agent() as log:
            cloud.slapos("supply", str(HELLOWORLD), "box", "--wait")
            order(cloud, "first")
            guid = cloud.master().computers()[0].guid
            cloud.slapos("master", "revoke", "--computer", guid, "--cfg", "master.cfg")
            cloud.master().bang_computer(guid, "news, so that the agent asks")
            eventually(lambda: "revoked" in log.read_text(), 70)
            assert "slapos computer token" in log.read_text()
            # The way back that the words name: the agent goes on with what is new, without a restart.
            cloud.register(cloud.slapos("computer", "token", guid).stdout)
            order(cloud, "second")


def test_a_certificate_is_renewed_without_a_restart(cloud: SecureCloud) -> None:
    with cloud.serving():
        cloud.configure()
        token = cloud.slapos("computer", "token").stdout
    with cloud.serving(certificate_days=_SHORT_LIFE / 86400):
        cloud.register(token)
        first = validity(cloud.folder / "node/etc/computer.pem").end
        cloud.slapos("node", "format", "--cfg", str(cloud.node_cfg))
        with cloud.agent() as log:
            cloud.slapos("supply", str(HELLOWORLD), "box", "--wait")
            eventually(lambda: time.time() > first.timestamp() + 1, _SHORT_LIFE + 10, 0.2)
            assert validity(cloud.folder / "node/etc/computer.pem").end > first
            order(cloud, "late")  # over connections that the server's renewed certificate is shown on
            assert "was not renewed" not in log.read_text()
