"""Certificates: who calls is told by them on every protocol, until they end."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography import x509
from sqlalchemy import create_engine, update

from slap.client.credentials import Credentials
from slap.master.access.auth import CallerKind
from slap.master.access.authority import common_name, in_pem, key_in_pem, new_authority, new_key
from slap.master.database.engine import database_url
from slap.master.database.tables import certificate
from slap.master.service.accounts import credentials, revoke, revoke_all, user_certificate
from slap.master.tls import read_authority
from slap.model.computer import ComputerConfiguration, Partition
from slap.model.errors import Forbidden, InvalidInput, NotFound, Unauthenticated, Unreachable
from slap.model.instance import InstanceRequest
from slap.model.node import NodeReport
from slap.model.software import SupplyRequest
from tests.contract.master.secure import Holder, Secure, secure_master
from tests.contract.master.world import until

PARTITIONS = ComputerConfiguration(partitions=(Partition(name="slappart0"), Partition(name="slappart1")))


@pytest.fixture
def secure(fresh_database: str, tmp_path: Path) -> Iterator[Secure]:
    with secure_master(fresh_database, tmp_path) as master:
        yield master


def classic(computer: str) -> str:
    return f"/getFullComputerInformation?computer_id={computer}"


def hateoas(computer: str) -> str:
    return f"/slapos.allDocs.v0.compute_node_instance_list?computer_guid={computer}"


@pytest.mark.sql
def test_all_processes_of_a_database_have_one_authority(secure: Secure) -> None:
    with ThreadPoolExecutor(8) as threads:
        found = set(threads.map(lambda _: read_authority(secure.settings).fingerprint, range(16)))
    assert len(found) == 1


def test_a_computer_is_told_by_its_certificate_on_every_protocol(secure: Secure) -> None:
    node = secure.computer("one")
    assert node.api.configure_computer(node.guid, PARTITIONS).title == "one"
    assert node.api.desired_state(node.guid).computer == node.guid
    assert node.get(classic(node.guid)) == 200


def test_a_user_is_told_by_a_certificate(secure: Secure) -> None:
    node = secure.computer("one")
    alice = secure.holder(user_certificate(secure.database, "alice", 3600), "alice")
    eve = secure.holder(user_certificate(secure.database, "eve", 3600), "eve")
    assert [each.guid for each in alice.api.computers()] == [node.guid]
    assert eve.api.computers() == []
    assert eve.get(classic(node.guid)) in (403, 404)


def test_a_computer_speaks_for_itself_alone(secure: Secure) -> None:
    one, two = secure.computer("one"), secure.computer("two")
    for attempt in (
        lambda: one.api.desired_state(two.guid),
        lambda: one.api.report(two.guid, NodeReport()),
        lambda: one.api.configure_computer(two.guid, PARTITIONS),
    ):
        with pytest.raises((Forbidden, NotFound)):
            attempt()
    assert one.get(classic(two.guid)) in (403, 404)
    with pytest.raises(Forbidden):
        one.token("three")


def test_a_revoked_certificate_is_refused_within_seconds(secure: Secure) -> None:
    node = secure.computer("one")
    assert node.api.desired_state(node.guid).computer == node.guid
    ours = [each for each in credentials(secure.database) if each.subject == node.guid]
    assert [each.form for each in ours] == ["certificate"]
    assert revoke(secure.database, ours[0].id).subject == node.guid
    began = time.monotonic()
    until(lambda: node.get(f"/api/v1/computers/{node.guid}/state") == 401)
    assert time.monotonic() - began < 4
    assert node.get(classic(node.guid)) == 401
    with pytest.raises(Unauthenticated, match="revoked") as refusal:
        node.api.desired_state(node.guid)
    assert "slapos computer token" in refusal.value.resolution
    assert all(each.subject != node.guid for each in credentials(secure.database))
    assert any(each.subject == node.guid and each.revoked_at for each in credentials(secure.database, is_all=True))


def test_all_of_a_computer_is_revoked_at_once(secure: Secure) -> None:
    node = secure.computer("one")
    node.renewed("again")
    assert revoke_all(secure.database, CallerKind.COMPUTER, node.guid) == 2
    assert revoke_all(secure.database, CallerKind.COMPUTER, node.guid) == 0


@pytest.mark.parametrize("id", ["", "ab", "zzzzzzzz", "%%%%%%%%", "0123456789ab"])
def test_what_is_no_credential_cannot_be_revoked(secure: Secure, id: str) -> None:  # noqa: A002
    secure.user()
    with pytest.raises((InvalidInput, NotFound)):
        revoke(secure.database, id)


def test_a_computer_whose_credentials_were_replaced_is_refused(secure: Secure) -> None:
    lost = secure.computer("one")
    found = secure.computer("one", guid=lost.guid)
    assert found.guid == lost.guid
    assert found.api.desired_state(found.guid).computer == found.guid
    until(lambda: lost.get(classic(lost.guid)) == 401)
    secure.user().api.new_computer_token(found.guid)
    until(lambda: found.get(classic(found.guid)) == 401)


def test_renewal_leaves_the_former_certificate_in_force(secure: Secure) -> None:
    node = secure.computer("one")
    again = node.renewed("again")
    assert again.api.desired_state(node.guid).computer == node.guid
    assert node.api.desired_state(node.guid).computer == node.guid


def of_another_authority(secure: Secure, node: Holder) -> str:
    """A certificate that says the same as a genuine one, its serial included."""
    assert node.credentials.certificate is not None
    genuine = x509.load_pem_x509_certificate(node.credentials.certificate.read_bytes())
    key, impostor = new_key(), new_authority()
    made = impostor.sign_client(genuine.subject, f"urn:slap:computer:{node.guid}", key.public_key(), 3600)
    return key_in_pem(key) + in_pem(made)


def unknown(secure: Secure, node: Holder) -> str:
    """Signed by our authority, but never issued: as after the database was restored from a backup."""
    key = new_key()
    made = read_authority(secure.settings).sign_client(
        common_name("computer", node.guid), f"urn:slap:computer:{node.guid}", key.public_key(), 3600
    )
    return key_in_pem(key) + in_pem(made)


def expired(secure: Secure, node: Holder) -> str:
    made = user_certificate(secure.database, "alice", 1)
    time.sleep(1.5)  # until its end has passed
    return made


def of_a_server(secure: Secure, node: Holder) -> str:
    key = new_key()
    made = read_authority(secure.settings).sign_server(["localhost"], key.public_key(), 3600)
    return key_in_pem(key) + in_pem(made)


@pytest.mark.parametrize("make", [of_another_authority, unknown, expired, of_a_server])
def test_certificates_that_are_not_in_force_are_refused(secure: Secure, make: object) -> None:
    node = secure.computer("one")
    bad = secure.holder(make(secure, node), "bad")  # type: ignore[operator]
    for path in (f"/api/v1/computers/{node.guid}/state", classic(node.guid), "/api/v1/instances"):
        assert refused(bad, path), path


def refused(holder: Holder, path: str) -> bool:
    """Whether TLS or the master turned somebody away, and not only the network."""
    try:
        return holder.get(path) == 401
    except Unauthenticated:
        return True
    except Unreachable as error:  # the server hung up before the reason was read
        return "reset" in error.details.lower() or "closed" in error.details.lower() or "pipe" in error.details.lower()


def test_a_certificate_that_ends_while_its_connection_goes_on_is_refused(secure: Secure) -> None:
    alice = secure.holder(user_certificate(secure.database, "alice", 3600), "alice")
    way = alice.credentials.transport()
    assert way.send("GET", f"{secure.url}/api/v1/computers", {}, None, 20).status == 200
    engine = create_engine(database_url(secure.database))  # as if the hour had passed
    with engine.begin() as connection:
        connection.execute(update(certificate).values(expires_at="2020-01-01T00:00:00+00:00"))
    engine.dispose()
    until(lambda: way.send("GET", f"{secure.url}/api/v1/computers", {}, None, 20).status == 401)


def test_a_partition_is_told_by_a_certificate(secure: Secure, tmp_path: Path) -> None:
    node, other = secure.computer("one"), secure.computer("two")
    node.api.configure_computer(node.guid, PARTITIONS)
    (tmp_path / "software.cfg").write_text("[buildout]\nparts =\n")
    url = str(tmp_path / "software.cfg")
    alice = secure.user().api
    alice.supply(SupplyRequest(url=url, computer=node.guid))
    placed = alice.request(InstanceRequest(reference="service", software_release=url))
    partition = node.renewed("partition", placed.partition)
    assert partition.api.instance(placed.guid).guid == placed.guid
    with pytest.raises((Forbidden, NotFound)):
        partition.api.desired_state(node.guid)
    with pytest.raises((Forbidden, NotFound)):
        other.renewed("stranger", placed.partition)
    with pytest.raises(NotFound):
        node.renewed("free", "slappart1")


def test_a_token_beside_a_certificate_counts(secure: Secure) -> None:
    node = secure.computer("one")
    known = node.credentials
    both = Credentials(secure.user().credentials.token, known.certificate, known.key, known.authority)
    assert [each.guid for each in Holder(secure, both).api.computers()] == [node.guid]
    wrong = Credentials("user:wrong", known.certificate, known.key, known.authority)
    assert Holder(secure, wrong).get("/api/v1/computers") == 401


def test_nothing_at_all_is_refused(secure: Secure) -> None:
    stranger = Holder(secure, Credentials(authority=secure.authority))
    assert stranger.get("/api/v1/computers") == 401
    assert stranger.get("/api/v1/authority") == 200


def test_a_server_of_another_authority_or_name_is_not_trusted(secure: Secure, tmp_path: Path) -> None:
    (tmp_path / "other.pem").write_text(new_authority().certificate)
    with pytest.raises(Unreachable, match="not trusted"):
        Holder(secure, Credentials("user:x", authority=tmp_path / "other.pem")).api.computers()
    elsewhere = Secure(secure.url.replace("127.0.0.1", "127.0.0.2"), secure.settings, tmp_path)
    with pytest.raises(Unreachable):
        Holder(elsewhere, Credentials("user:x", authority=secure.authority)).api.computers()
