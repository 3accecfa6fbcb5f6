"""The master's signed list of revoked certificates."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import create_engine, update

from slap.client.credentials import Credentials
from slap.master.access.auth import CallerKind
from slap.master.database.engine import database_url
from slap.master.database.tables import certificate, instance
from slap.master.service.accounts import revoke_all
from slap.model.computer import ComputerConfiguration, Partition
from slap.model.instance import InstanceRequest
from slap.model.software import SupplyRequest
from tests.contract.master.secure import Holder, Secure, secure_master

pytestmark = pytest.mark.sql


@pytest.fixture
def secure(fresh_database: str, tmp_path: Path) -> Iterator[Secure]:
    with secure_master(fresh_database, tmp_path) as master:
        yield master


def fetch(secure: Secure) -> x509.CertificateRevocationList:
    """The list, as somebody without credentials has it."""
    anybody = Credentials(authority=secure.authority).transport()
    reply = anybody.send("GET", f"{secure.url}/api/v1/authority/revocations", {}, None, 20)
    assert reply.status == 200
    return x509.load_pem_x509_crl(reply.body)


def serial_of(holder: Holder) -> int:
    assert holder.credentials.certificate
    return x509.load_pem_x509_certificate(holder.credentials.certificate.read_bytes()).serial_number


def test_revoked_certificates_are_on_a_list_that_the_authority_signs_for_a_day(secure: Secure) -> None:
    revoked, other, expired = (secure.computer(name) for name in ("one", "two", "three"))
    for each in (revoked, expired):
        revoke_all(secure.database, CallerKind.COMPUTER, each.guid)
    change(secure, update(certificate).where(certificate.c.subject == expired.guid).values(expires_at="2020-01-01"))
    found = fetch(secure)
    assert {each.serial_number for each in found} == {serial_of(revoked)}
    assert serial_of(other) != serial_of(revoked)
    key = x509.load_pem_x509_certificate(secure.authority.read_bytes()).public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert found.is_signature_valid(key)
    assert found.next_update_utc
    assert (found.next_update_utc - found.last_update_utc).total_seconds() == 24 * 3600


def test_certificates_of_instances_that_are_gone_are_on_the_list(secure: Secure, tmp_path: Path) -> None:
    node = secure.computer("one")
    node.api.configure_computer(node.guid, ComputerConfiguration(partitions=(Partition(name="slappart0"),)))
    (tmp_path / "software.cfg").write_text("[buildout]\nparts =\n")
    alice, url = secure.user().api, str(tmp_path / "software.cfg")
    alice.supply(SupplyRequest(url=url, computer=node.guid))
    placed = alice.request(InstanceRequest(reference="service", software_release=url))
    partition = node.renewed("partition", placed.partition)
    change(secure, update(instance).values(reported="destroyed"))
    assert {each.serial_number for each in fetch(secure)} == {serial_of(partition)}


def test_the_list_is_signed_once_for_many_who_ask(secure: Secure) -> None:
    first = fetch(secure)
    revoke_all(secure.database, CallerKind.COMPUTER, secure.computer("one").guid)
    assert fetch(secure).signature == first.signature


def change(secure: Secure, query: object) -> None:
    engine = create_engine(database_url(secure.database))
    with engine.begin() as connection:
        connection.execute(query)  # type: ignore[call-overload]
    engine.dispose()
