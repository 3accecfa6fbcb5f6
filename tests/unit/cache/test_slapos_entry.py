"""Entries of SlapOS's own caches, as slapos.libnetworkcache 0.30 signed them (recorded)."""

import json
from base64 import b64decode, b64encode
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slap.cache.trust.cache_key import CacheKey
from slap.cache.trust.errors import RejectedStatement, RejectionReason
from slap.cache.trust.slapos_entry import multiarch, parse_slapos_key, verify_slapos_entry
from slap.model.errors import InvalidInput
from tests.unit.cache.test_trust_flips import flipped, places
from tests.unit.cache.trust_world import PLATFORM, QUESTION

RECORDED = json.loads(Path(__file__).with_name("recorded").joinpath("former.json").read_text())
SAMPLES = [(RECORDED[size], kind) for size in ("small", "usual") for kind in ("certificate", "public_key")]
USUAL = RECORDED["usual"]
KEY = parse_slapos_key(USUAL["certificate"], "old cache")


def _entry(sample: dict[str, Any]) -> tuple[str, str]:
    """Its text and its signature."""
    text, signature = sample["entry"]
    return text, signature


def refusal(text: str, signature: str, cache_key: CacheKey = QUESTION, keys: Any = (KEY,)) -> RejectionReason:
    with pytest.raises(RejectedStatement) as caught:
        verify_slapos_entry(text, signature, keys, cache_key)
    return caught.value.reason


@pytest.mark.parametrize(("sample", "kind"), SAMPLES)
def test_what_the_old_client_signed_is_taken_once_its_key_is_trusted(sample: dict[str, Any], kind: str) -> None:
    key = parse_slapos_key(sample[kind])
    found = verify_slapos_entry(*_entry(sample), (KEY, key), QUESTION)
    assert found.entry.sha512 == json.loads(sample["entry"][0])["sha512"]
    assert found.key.id == key.id


def test_a_key_has_one_id_however_it_is_given() -> None:
    assert parse_slapos_key(USUAL["certificate"]).id == parse_slapos_key(USUAL["public_key"]).id


def test_without_the_operators_word_nothing_of_it_is_taken() -> None:
    with pytest.raises(RejectedStatement) as caught:
        verify_slapos_entry(*_entry(USUAL), (), QUESTION)
    assert (caught.value.reason, "--former" in caught.value.resolution) == (RejectionReason.UNKNOWN_KEY, True)


def test_the_key_of_another_cache_does_not_fit() -> None:
    assert refusal(*_entry(RECORDED["small"])) is RejectionReason.BAD_SIGNATURE


@pytest.mark.parametrize(
    ("cache_key", "reason"),
    [
        (replace(QUESTION, key="https://example.com/other.cfg"), RejectionReason.OTHER_KEY),
        (replace(QUESTION, root="/srv/slapgrid"), RejectionReason.OTHER_ROOT),
        (replace(QUESTION, platform=PLATFORM.model_copy(update={"machine": "aarch64"})), RejectionReason.OTHER_MACHINE),
        (replace(QUESTION, platform=PLATFORM.model_copy(update={"libc": "musl 1.2"})), RejectionReason.OTHER_MACHINE),
        (replace(QUESTION, platform=PLATFORM.model_copy(update={"os": "ubuntu"})), RejectionReason.OTHER_OS),
        (replace(QUESTION, platform=PLATFORM.model_copy(update={"version": "13"})), RejectionReason.OTHER_OS),
    ],
)
def test_it_must_be_the_answer(cache_key: CacheKey, reason: RejectionReason) -> None:
    assert refusal(*_entry(USUAL), cache_key) is reason


def test_points_of_a_debian_release_run_on_each_other() -> None:
    platform = PLATFORM.model_copy(update={"version": "12.5"})
    assert verify_slapos_entry(*_entry(USUAL), (KEY,), replace(QUESTION, platform=platform))


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(places)
def test_a_flipped_bit_of_the_text_or_its_signature(place: tuple[int, int]) -> None:

    text, signature = USUAL["entry"]
    changed = flipped(text.encode(), place).decode(errors="replace")
    assert refusal(changed, signature) is RejectionReason.BAD_SIGNATURE
    assert refusal(text, b64encode(flipped(b64decode(signature), place)).decode()) is RejectionReason.BAD_SIGNATURE


@pytest.mark.parametrize(
    ("text", "signature", "reason"),
    [
        (USUAL["entry"][0], "", RejectionReason.UNSIGNED),
        (USUAL["entry"][0], "not base64!", RejectionReason.MALFORMED),
        (USUAL["entry"][0], "AAAA", RejectionReason.BAD_SIGNATURE),
        (" " * 100_000, USUAL["entry"][1], RejectionReason.TOO_LARGE),
        ("\ud800", USUAL["entry"][1], RejectionReason.BAD_SIGNATURE),
    ],
)
def test_what_is_unsigned_or_odd_is_refused(text: str, signature: str, reason: RejectionReason) -> None:
    assert refusal(text, signature) is reason


def test_what_lacks_whom_it_is_for_is_refused_however_well_signed(tmp_path: Path) -> None:

    private = rsa.generate_private_key(65537, 1024)
    key = parse_slapos_key(private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())
    whole = json.loads(USUAL["entry"][0])
    texts = ["[]", "{}", "nonsense", "[" * 9000]
    texts += [json.dumps({name: value for name, value in whole.items() if name != missing}) for missing in whole]
    texts += [json.dumps(whole | {"sha512": "../../etc/passwd"})]
    for text in texts:
        signature = b64encode(private.sign(text.encode(), PKCS1v15(), hashes.SHA1())).decode()
        assert refusal(text, signature, keys=(key,)) is RejectionReason.MALFORMED


@st.composite
def not_rsa(draw: st.DrawFn) -> str:
    return draw(st.text(max_size=200))


@given(not_rsa())
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="not the key of a SlapOS cache"):
        parse_slapos_key(text)


def test_keys_of_other_kinds_are_refused() -> None:
    public = ed25519.Ed25519PrivateKey.generate().public_key()
    with pytest.raises(InvalidInput):
        parse_slapos_key(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())


@pytest.mark.parametrize(
    ("machine", "libc", "expected"),
    [
        ("x86_64", "glibc 2.36", "x86_64-linux-gnu"),
        ("aarch64", "glibc 2.36", "aarch64-linux-gnu"),
        ("armv7l", "glibc 2.36", "arm-linux-gnueabihf"),
        ("x86_64", "musl 1.2.4", "x86_64-linux-musl"),
    ],
)
def test_the_compilers_name_of_a_machine_is_known_without_a_compiler(machine: str, libc: str, expected: str) -> None:
    assert multiarch(machine, libc) == expected
