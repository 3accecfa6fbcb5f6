"""What the master's own authority signs, and how the holders of certificates are told."""

from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from cryptography.x509.verification import PolicyBuilder, Store

from slap.master.access.authority import CertificateAuthority, common_name, new_authority, new_key
from slap.model.errors import InvalidInput

AUTHORITY = new_authority()
KEY = new_key().public_key()


def usage(certificate: x509.Certificate) -> list[x509.ObjectIdentifier]:
    return list(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)


@pytest.mark.parametrize("subject", ["alice", "COMP-0123456789abcdef", "x" * 200, "Zoë, CN=admin"])
def test_a_client_certificate_names_its_holder_for_people(subject: str) -> None:
    made = AUTHORITY.sign_client(common_name("user", subject), "urn:slap:user:x", KEY, 3600)
    assert made.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == subject[:64]
    assert usage(made) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert not made.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_a_server_certificate_is_good_for_its_names_and_no_others() -> None:
    made = AUTHORITY.sign_server(["master.example", "127.0.0.1", "::1", "fe80::1%eth0"], KEY, 3600)
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["master.example"]
    assert [str(each) for each in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "::1", "fe80::1"]
    assert usage(made) == [ExtendedKeyUsageOID.SERVER_AUTH]


@pytest.mark.parametrize("host", ["", "a b", "http://master", "master:443", "-x", "x" * 300, "a..b", "zoë"])
def test_names_that_no_host_has_are_refused(host: str) -> None:
    with pytest.raises(InvalidInput):
        AUTHORITY.sign_server([host], KEY, 3600)


def test_a_certificate_lives_as_long_as_asked_but_not_beyond_its_authority() -> None:
    now = datetime.now(UTC)
    short = AUTHORITY.sign_client(common_name("user", "a"), "urn:slap:user:a", KEY, 60)
    assert 0 < (short.not_valid_after_utc - now).total_seconds() <= 61
    assert (now - short.not_valid_before_utc).total_seconds() < 10  # most of its life is not over at once
    endless = AUTHORITY.sign_client(common_name("user", "a"), "urn:slap:user:a", KEY, 1e9)
    root = x509.load_pem_x509_certificate(AUTHORITY.certificate.encode())
    assert endless.not_valid_after_utc == root.not_valid_after_utc


def test_a_strict_verifier_takes_what_it_signs() -> None:
    root = x509.load_pem_x509_certificate(AUTHORITY.certificate.encode())
    client = AUTHORITY.sign_client(common_name("computer", "COMP-1"), "urn:slap:computer:COMP-1", KEY, 3600)
    chain = PolicyBuilder().store(Store([root])).build_client_verifier().verify(client, []).chain
    assert chain == [client, root]
    server = AUTHORITY.sign_server(["master.example"], KEY, 3600)
    verifier = PolicyBuilder().store(Store([root])).build_server_verifier(x509.DNSName("master.example"))
    assert verifier.verify(server, []) == [server, root]


def test_two_authorities_are_never_the_same_and_the_key_is_not_shown() -> None:
    assert AUTHORITY.fingerprint != new_authority().fingerprint
    assert "PRIVATE" not in repr(AUTHORITY)
    assert CertificateAuthority(AUTHORITY.certificate, AUTHORITY.key).fingerprint == AUTHORITY.fingerprint
