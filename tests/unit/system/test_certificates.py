"""Certificates as their holders see them."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from slap.master.access.authority import common_name, in_pem, new_authority, new_key
from slap.model.errors import Forbidden, InvalidInput
from slap.system.trust.certificates import Validity, new_key_and_request, proven, request_for, validity

BEGIN = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(("day", "due"), [(0, False), (59, False), (60, True), (89, True), (91, True)])
def test_a_certificate_is_renewed_after_two_thirds_of_its_life(day: int, due: bool) -> None:
    life = Validity(BEGIN, BEGIN + timedelta(days=90))
    now = BEGIN + timedelta(days=day)
    assert life.is_due(now) is due
    assert (life.until_due(now) <= 0) is due


def test_validity_is_read_from_the_file_that_also_has_the_key(tmp_path: Path) -> None:
    made = new_key_and_request("COMP-1")
    issued = new_authority().sign_client(common_name("computer", "COMP-1"), "urn:x", new_key().public_key(), 3600)
    (tmp_path / "both.pem").write_text(made.key + in_pem(issued))
    assert validity(tmp_path / "both.pem").end == issued.not_valid_after_utc


@pytest.mark.parametrize(
    "content", [None, "", "words", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_what_is_no_certificate_is_named(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "some.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InvalidInput, match=r"some\.pem"):
        validity(path)
    with pytest.raises(InvalidInput, match=r"some\.pem"):
        request_for(path, "COMP-1")


def test_a_request_for_a_key_that_is_there_is_for_that_key(tmp_path: Path) -> None:
    made = new_key_and_request("COMP-1")
    (tmp_path / "key").write_text(made.key)
    again = request_for(tmp_path / "key", "COMP-1")
    assert key_in(again.request) == key_in(made.request)
    assert "PRIVATE" not in repr(made)


def key_in(request: str) -> bytes:
    key = x509.load_pem_x509_csr(request.encode()).public_key()
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def test_an_authority_is_believed_by_its_fingerprint_alone() -> None:
    genuine, impostor = new_authority(), new_authority()
    assert proven(genuine.certificate, genuine.fingerprint) == genuine.certificate
    with pytest.raises(Forbidden, match="not the master"):
        proven(impostor.certificate, genuine.fingerprint)
    with pytest.raises(InvalidInput):
        proven("hello", genuine.fingerprint)


def test_an_authority_that_comes_with_a_genuine_one_is_left_out() -> None:
    genuine, impostor = new_authority(), new_authority()
    assert proven(genuine.certificate + impostor.certificate, genuine.fingerprint) == genuine.certificate
    with pytest.raises(Forbidden):
        proven(impostor.certificate + genuine.certificate, genuine.fingerprint)
