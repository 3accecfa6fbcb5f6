"""After a rotation, nobody gets in by what the former secret or authority made."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509

from slap.client.connect import connect
from slap.client.credentials import Credentials
from slap.master.access.auth import token_of_partition
from slap.master.service.accounts import renew_authority, renew_partition_secret
from slap.model.computer import ComputerConfiguration, Partition
from slap.model.errors import Forbidden, Unauthenticated, Unreachable
from slap.model.instance import InstanceRequest
from slap.model.node import DesiredState
from slap.model.software import SupplyRequest
from tests.contract.master.secure import Holder, Secure, secure_master
from tests.contract.master.world import until


@pytest.fixture
def secure(fresh_database: str, tmp_path: Path) -> Iterator[Secure]:
    with secure_master(fresh_database, tmp_path) as master:
        yield master


@dataclass(frozen=True)
class Placed:
    """A node with an instance, whose partition calls by its token."""

    secure: Secure
    node: Holder
    guid: str

    def partition(self, token: str) -> Holder:
        return Holder(self.secure, Credentials(token, authority=self.secure.authority))

    def state(self, since: int = 0) -> DesiredState:
        return self.node.api.desired_state(self.node.guid, since)


@pytest.fixture
def placed(secure: Secure, tmp_path: Path) -> Placed:
    node = secure.computer("one")
    node.api.configure_computer(node.guid, ComputerConfiguration(partitions=(Partition(name="slappart0"),)))
    (tmp_path / "software.cfg").write_text("[buildout]\nparts =\n")
    url = str(tmp_path / "software.cfg")
    alice = secure.user().api
    alice.supply(SupplyRequest(url=url, computer=node.guid))
    return Placed(secure, node, alice.request(InstanceRequest(reference="web", software_release=url)).guid)


@pytest.mark.sql
def test_a_new_partition_secret_reaches_nodes_and_ends_former_tokens(placed: Placed) -> None:
    before = placed.state()
    (former,) = before.instances
    assert placed.partition(former.token).api.instance(placed.guid).guid == placed.guid
    assert renew_partition_secret(placed.secure.database) == 1
    after = placed.state(before.revision)
    (latter,) = after.instances
    assert after.revision > before.revision
    assert latter.bang == former.bang + 1, "the partition is instantiated anew, with its token"
    assert placed.partition(latter.token).api.instance(placed.guid).guid == placed.guid, "at once"
    until(lambda: placed.partition(former.token).get(f"/api/v1/instances/{placed.guid}") == 401)
    assert placed.state(after.revision).instances == ()


FORGED: dict[str, Callable[[str, str], str]] = {
    "by an empty secret": lambda guid, token: token_of_partition(b"", guid, "0"),
    "by the setting's name": lambda guid, token: token_of_partition(b"partition-secret", guid, "0"),
    "of another instance": lambda guid, token: token.replace(guid, f"{guid}0"),
    "without a digest": lambda guid, token: f"partition:{guid}:",
    "with half of the digest": lambda guid, token: token[:-32],
}


@pytest.mark.parametrize("forge", FORGED.values(), ids=list(FORGED))
def test_a_forged_token_is_refused_by_the_new_secret_too(placed: Placed, forge: Callable[[str, str], str]) -> None:
    renew_partition_secret(placed.secure.database)
    token = forge(placed.guid, placed.state().instances[0].token)
    assert placed.partition(token).get(f"/api/v1/instances/{placed.guid}") == 401


@pytest.mark.sql
def test_a_new_authority_ends_all_certificates_and_one_time_tokens(
    secure: Secure, fresh_database: str, tmp_path: Path
) -> None:
    alice = secure.user()
    node, waiting = secure.computer("one"), alice.token("two")
    former = secure.authority.read_bytes()
    assert node.get("/api/v1/computers") == 200
    made, count = renew_authority(fresh_database)
    assert count == 1
    until(lambda: node.get("/api/v1/computers") == 401)
    with secure_master(fresh_database, tmp_path) as restarted:
        assert restarted.authority.read_text() == made.certificate != former.decode()
        (tmp_path / "former.pem").write_bytes(former)
        known = node.credentials
        for authority in (tmp_path / "former.pem", restarted.authority):
            with pytest.raises((Unauthenticated, Unreachable)):
                connect(restarted.url, Credentials("", known.certificate, known.key, authority)).computers()
        with pytest.raises(Forbidden):
            restarted.computer("two", waiting)
        by_token = Credentials(alice.credentials.token, authority=restarted.authority)
        assert Holder(restarted, by_token).get("/api/v1/computers") == 200, "tokens go on"
        again = restarted.computer("one", guid=node.guid)
        assert again.guid == node.guid
        assert again.get("/api/v1/computers") == 200
        reply = again.credentials.transport().send("GET", f"{restarted.url}/api/v1/authority/revocations", {}, None, 20)
        listed = x509.load_pem_x509_crl(reply.body)
        assert listed.issuer == x509.load_pem_x509_certificate(made.certificate.encode()).subject
        assert known.certificate
        revoked = x509.load_pem_x509_certificate(known.certificate.read_bytes())
        assert listed.get_revoked_certificate_by_serial_number(revoked.serial_number)
