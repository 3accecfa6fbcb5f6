"""Requests for certificates: what strangers send is looked at before it is signed."""

import base64
from collections.abc import Callable

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.x509.oid import NameOID

from slap.master.access.authority import new_authority
from slap.master.access.csr import public_key_of
from slap.model.errors import InvalidInput
from slap.system.trust.certificates import new_key_and_request


def request_of(key: object, algorithm: object | None = hashes.SHA256()) -> str:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "admin")])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, algorithm)  # type: ignore[arg-type]
    return request.public_bytes(serialization.Encoding.PEM).decode()


def flipped(place: int) -> str:
    """A good request with one bit of its content changed."""
    lines = request_of(ec.generate_private_key(ec.SECP256R1())).splitlines()
    der = bytearray(base64.b64decode("".join(lines[1:-1])))
    der[place] ^= 1
    return as_pem(bytes(der))


def as_pem(der: bytes) -> str:
    body = base64.b64encode(der).decode()
    return f"-----BEGIN CERTIFICATE REQUEST-----\n{body}\n-----END CERTIFICATE REQUEST-----\n"


BAD: dict[str, Callable[[], str]] = {
    "nothing": lambda: "",
    "words": lambda: "please",
    "not PEM inside": lambda: "-----BEGIN CERTIFICATE REQUEST-----\n####\n-----END CERTIFICATE REQUEST-----\n",
    "not DER inside": lambda: as_pem(b"hello"),
    "cut off": lambda: as_pem(b"\x30\x82\x01\x00"),
    "a certificate": lambda: new_authority().certificate,
    "a key": lambda: new_authority().key,
    "surrogates": lambda: "\x00\x00",
    "another signature": lambda: flipped(-3),
    "another name than was signed": lambda: flipped(20),
    "RSA of 1024 bits": lambda: request_of(rsa.generate_private_key(65537, 1024)),
    "RSA with exponent 3": lambda: request_of(rsa.generate_private_key(3, 2048)),
    "DSA": lambda: request_of(dsa.generate_private_key(2048)),
    "a curve of little use": lambda: request_of(ec.generate_private_key(ec.SECP192R1())),
    "a curve of other people": lambda: request_of(ec.generate_private_key(ec.SECP256K1())),
    "Ed448": lambda: request_of(ed448.Ed448PrivateKey.generate(), None),
    "SHA-224": lambda: request_of(ec.generate_private_key(ec.SECP256R1()), hashes.SHA224()),
}


@pytest.mark.parametrize("make", BAD.values(), ids=list(BAD))
def test_bad_requests_are_refused(make: Callable[[], str]) -> None:
    with pytest.raises(InvalidInput) as refusal:
        public_key_of(make())
    assert "refused" in refusal.value.brief
    assert "Ed25519" in refusal.value.resolution


@pytest.mark.parametrize(
    "make",
    [
        lambda: new_key_and_request("COMP-1").request,
        lambda: request_of(ec.generate_private_key(ec.SECP384R1()), hashes.SHA384()),
        lambda: request_of(ed25519.Ed25519PrivateKey.generate(), None),
        lambda: request_of(rsa.generate_private_key(65537, 2048)),
    ],
    ids=["ours", "P-384", "Ed25519", "RSA"],
)
def test_good_requests_are_taken(make: Callable[[], str]) -> None:
    assert public_key_of(make()) is not None
