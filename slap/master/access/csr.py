"""Requests for certificates, from nodes and users whom nobody has looked at yet."""

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from slap.model.errors import InvalidInput

PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey

_RSA_BITS = range(2048, 8192 + 1)
_CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
_HASHES = (hashes.SHA256, hashes.SHA384, hashes.SHA512)


def public_key_of(request: str) -> PublicKey:
    """The key that a certificate is requested for. Nothing else of a request is believed.

    Raises InvalidInput for what is no request, is not signed by its own key, or has a key that is not to be trusted.
    """
    try:
        parsed = x509.load_pem_x509_csr(request.encode())
        is_genuine = parsed.is_signature_valid
        algorithm = parsed.signature_hash_algorithm
        key = parsed.public_key()
    except (ValueError, UnsupportedAlgorithm, InvalidSignature, TypeError) as error:
        raise _refused("It is not a PKCS #10 request in PEM, or uses what is too old.") from error
    if not is_genuine:
        raise _refused("It is not signed by the key that it is for.")
    if algorithm is not None and not isinstance(algorithm, _HASHES):
        raise _refused(f"It is signed by {algorithm.name}.")
    return _checked(key)


def _checked(key: object) -> PublicKey:
    if isinstance(key, rsa.RSAPublicKey):
        if key.key_size not in _RSA_BITS:
            raise _refused(f"Its RSA key has {key.key_size} bits.")
        if key.public_numbers().e < 65537:
            raise _refused("The exponent of its RSA key is too small.")
        return key
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, _CURVES):
        return key
    if isinstance(key, ed25519.Ed25519PublicKey):
        return key
    raise _refused("Its key is of another kind.")


def _refused(why: str) -> InvalidInput:
    return InvalidInput(
        "This request for a certificate is refused.",
        why,
        "Take a P-256, P-384, P-521 or Ed25519 key, or an RSA key of 2048 to 8192 bits, and SHA-256 or better.",
    )
