"""password and certificate."""

import re
import ssl
import stat
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from slap.recipes.common.base import RecipeError
from slap.recipes.secret import Authority, Wish, is_good, issue
from tests.unit.recipes.instance import Partition

NOW = datetime(2024, 1, 1, tzinfo=UTC)
WISH = Wish("shop", ("shop.example", "127.0.0.1"), False, 90)


def password(partition: Partition, options: str) -> str:
    buildout = partition.run(f"[buildout]\nparts = p\n[p]\nrecipe = slap:password\n{options}\n")
    path = Path(buildout["p"]["storage-path"])
    assert path.read_text() == buildout["p"]["password"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    return str(buildout["p"]["password"])


@pytest.mark.parametrize(
    ("options", "form"),
    [
        ("", r"[A-Za-z0-9]{24}"),
        ("length = 40", r"[A-Za-z0-9]{40}"),
        ("length = 99\ncharacters = ${:letters}\nletters = abcdef$%{}:;", r"[abcdef$%{}:;]{99}"),
        ("bytes = 16", r"[0-9a-f]{32}"),
    ],
)
def test_a_password_is_made_as_wished_and_kept_for_ever(partition: Partition, options: str, form: str) -> None:
    first = password(partition, options)
    assert re.fullmatch(form, first)
    assert password(partition, options) == first
    partition.run("[buildout]\nparts =\n")
    assert password(partition, "length = 30") == first


def test_passwords_are_where_the_profile_says_and_differ(partition: Partition) -> None:
    assert password(partition, "storage-path = var/a") != password(partition, "storage-path = var/b")
    assert (partition.folder / "var/a").exists()


@pytest.mark.parametrize(
    "options", ["length = 7", "characters = abc", "bytes = 3", "storage-path = ../x", "length = x"]
)
def test_a_weak_password_is_refused(partition: Partition, options: str) -> None:
    with pytest.raises(RecipeError, match=r"\[p\]"):
        password(partition, options)


CERTIFICATES = """
[buildout]
parts = ca web
[ca]
recipe = slap:certificate
ca = true
common-name = Shop CA
[web]
recipe = slap:certificate
ca-certificate = ${ca:certificate}
ca-key = ${ca:key}
alternative-names =
  shop.example
  10.1.1.1
"""


def load(partition: Partition, name: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate((partition.folder / f"etc/certificate/{name}.crt").read_bytes())


def test_a_part_can_sign_for_another(partition: Partition) -> None:
    partition.run(CERTIFICATES)
    ca, web = load(partition, "ca"), load(partition, "web")
    web.verify_directly_issued_by(ca)
    names = web.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["shop.example"]
    assert names.get_values_for_type(x509.IPAddress) == [ip_address("10.1.1.1"), ip_address("127.0.0.1")]
    assert stat.S_IMODE((partition.folder / "etc/certificate/web.key").stat().st_mode) == 0o600


def test_a_client_that_trusts_the_authority_trusts_the_server(partition: Partition) -> None:
    partition.run(CERTIFICATES)
    folder = partition.folder / "etc/certificate"
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "web.crt", folder / "web.key")
    client = ssl.create_default_context(cafile=str(folder / "ca.crt"))
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    asks = client.wrap_bio(back, there, server_hostname="127.0.0.1")
    answers = server.wrap_bio(there, back, server_side=True)
    for side in (asks, answers, asks, answers):
        with suppress(ssl.SSLWantReadError):
            side.do_handshake()
    assert dict(asks.getpeercert()["subject"][0]) == {"commonName": "127.0.0.1"}  # type: ignore[index, arg-type]


def test_a_certificate_is_made_anew_only_when_it_must(partition: Partition) -> None:
    partition.run(CERTIFICATES)
    key, first = partition.text("etc/certificate/web.key"), load(partition, "web")
    partition.run(CERTIFICATES)
    assert load(partition, "web") == first
    partition.run(CERTIFICATES.replace("shop.example", "mall.example"))
    second = load(partition, "web")
    assert second != first
    partition.order(ipv4=("127.0.0.2",))
    partition.run(CERTIFICATES.replace("shop.example", "mall.example"))
    assert load(partition, "web") != second
    assert partition.text("etc/certificate/web.key") == key


def test_what_is_broken_is_made_anew(partition: Partition) -> None:
    partition.run(CERTIFICATES)
    (partition.folder / "etc/certificate/web.crt").write_text("x")
    partition.run(CERTIFICATES)
    assert load(partition, "web").subject.rfc4514_string() == "CN=127.0.0.1"


@pytest.mark.parametrize(
    ("days", "good"), [(0, True), (59, True), (61, False), (100, False)], ids=["new", "young", "last third", "expired"]
)
def test_a_certificate_is_good_for_two_thirds_of_its_life(days: int, good: bool) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = issue(WISH, key, None, NOW)
    assert is_good(certificate, WISH, key, None, NOW + timedelta(days=days)) is good


def test_a_certificate_of_another_key_or_authority_is_not_good() -> None:
    key, other = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    wish = Wish("CA", (), True, 90)
    authority, namesake = (Authority(issue(wish, each, None, NOW), each) for each in (key, other))
    certificate = issue(WISH, key, authority, NOW)
    assert is_good(certificate, WISH, key, authority, NOW)
    assert not is_good(certificate, WISH, other, authority, NOW)
    assert not is_good(certificate, WISH, key, namesake, NOW)
    assert not is_good(certificate, WISH, key, None, NOW)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("ca-key = /x", "needed together"),
        ("ca-key = /x\nca-certificate = /x", "/x cannot be read"),
        ("days = 0", "days"),
        ("alternative-names = no name!", "no name!"),
    ],
)
def test_wrong_options_are_told(partition: Partition, options: str, told: str) -> None:
    with pytest.raises(RecipeError, match=told):
        partition.run(f"[buildout]\nparts = c\n[c]\nrecipe = slap:certificate\n{options}\n")
