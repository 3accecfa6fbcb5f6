"""Lists of revoked certificates of which the cache must believe nothing."""

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from slap.cache.server.settings import CacheSettings
from slap.master.access.authority import CertificateAuthority, in_pem, new_authority
from slap.system.revocations import RevokedCertificates

NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)
OURS, OTHER = new_authority(), new_authority()


def signed(
    authority: CertificateAuthority = OURS,
    *serials: int,
    name: CertificateAuthority = OURS,
    made_at: datetime = NOW,
    ends_at: datetime = NOW + DAY,
) -> str:
    """A list that `authority` signs in the name of `name`."""
    key = serialization.load_pem_private_key(authority.key.encode(), None)
    builder = x509.CertificateRevocationListBuilder().last_update(made_at).next_update(ends_at)
    builder = builder.issuer_name(x509.load_pem_x509_certificate(name.certificate.encode()).subject)
    for serial in serials:
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(made_at).build()
        builder = builder.add_revoked_certificate(entry)
    return in_pem(builder.sign(key, hashes.SHA256()))  # type: ignore[arg-type]


def flipped(pem: str) -> str:
    """One character of the signed part is another one."""
    place = len(pem) // 2
    return f"{pem[:place]}{'A' if pem[place] != 'A' else 'B'}{pem[place + 1 :]}"


ATTACKS: dict[str, Callable[[], str]] = {
    "signed by another authority in our name": lambda: signed(OTHER),
    "of another authority": lambda: signed(OTHER, name=OTHER),
    "signed by us in the name of another authority": lambda: signed(OURS, name=OTHER),
    "changed after it was signed": lambda: flipped(signed(OURS, 0xAB)),
    "cut": lambda: signed(OURS, 0xAB)[:200],
    "empty": lambda: "",
    "a certificate": lambda: OURS.certificate,
    "a page of a proxy": lambda: "<html>Please log in</html>",
    "no PEM within": lambda: "-----BEGIN X509 CRL-----\n!!!!\n-----END X509 CRL-----\n",
    "not signed DER": lambda: "-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n",
    "without end": lambda: "A" * (33 << 20),
    "one before ours": lambda: signed(made_at=NOW - DAY),
}


@pytest.fixture
def settings(tmp_path: Path) -> CacheSettings:
    (tmp_path / "ca.pem").write_text(OURS.certificate)
    return CacheSettings(
        folder=tmp_path, certificate=tmp_path / "server.pem", authority=tmp_path / "ca.pem",
        revocations=str(tmp_path / "crl.pem"),
    )  # fmt: skip


def refusing(settings: CacheSettings) -> RevokedCertificates:
    return RevokedCertificates(settings.revocations, settings.authority, settings.revocations_file)


def publish(settings: CacheSettings, pem: str) -> None:
    Path(settings.revocations).write_text(pem)


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=list(ATTACKS))
def test_what_is_no_newer_list_of_the_authority_is_ignored(settings: CacheSettings, attack: Callable[[], str]) -> None:
    revoked = refusing(settings)
    publish(settings, signed(OURS, 0xAB))
    revoked.fetch()
    publish(settings, attack())
    revoked.fetch()
    assert "was revoked" in revoked.find_refusal("ab")
    assert revoked.find_refusal("cd") == ""
    assert "was revoked" in refusing(settings).find_refusal("ab"), "after a restart"


def test_the_next_list_takes_the_place_of_the_one_before(settings: CacheSettings) -> None:
    revoked = refusing(settings)
    publish(settings, signed())
    revoked.fetch()
    assert revoked.find_refusal("ab") == ""
    publish(settings, signed(OURS, 0xAB, made_at=NOW + timedelta(seconds=1)))
    revoked.fetch()
    assert revoked.find_refusal("ab")


def test_without_a_list_all_certificates_are_refused(settings: CacheSettings, caplog: pytest.LogCaptureFixture) -> None:
    revoked = refusing(settings)
    for _ in range(3):
        revoked.fetch()
    assert "no list of revoked certificates here yet" in revoked.find_refusal("cd")
    assert [each.levelno for each in caplog.records] == [logging.ERROR], "said once"
    publish(settings, signed())
    revoked.fetch()
    assert revoked.find_refusal("cd") == ""


def test_a_list_that_ended_refuses_all_certificates(settings: CacheSettings, caplog: pytest.LogCaptureFixture) -> None:
    publish(settings, signed(made_at=NOW - DAY, ends_at=NOW - timedelta(seconds=1)))
    revoked = refusing(settings)
    revoked.fetch()
    assert "ended at" in revoked.find_refusal("cd")
    assert "ended at" in caplog.text


def test_a_list_on_disk_that_somebody_changed_is_not_taken_up(settings: CacheSettings) -> None:
    settings.revocations_file.write_text(signed(OTHER))
    assert refusing(settings).find_refusal("cd")


def test_where_no_list_is_named_none_is_asked_for(tmp_path: Path) -> None:
    assert refusing(CacheSettings(folder=tmp_path)).find_refusal("cd") == ""


def test_revocations_without_an_authority_are_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="authority"):
        CacheSettings(folder=tmp_path, revocations="crl.pem")
