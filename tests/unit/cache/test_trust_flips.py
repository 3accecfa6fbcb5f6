"""Whatever one changes of a signed entry, a node does not take something else for what was signed."""

from base64 import b64decode, b64encode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slap.cache.trust.envelope import parse_envelope
from slap.cache.trust.errors import RejectedStatement, RejectionReason
from slap.cache.trust.keys import PublicKey
from slap.cache.trust.store import TrustedKey
from slap.cache.trust.verify import verify
from slap.model.cache import SignedEntry
from tests.unit.cache.trust_world import ENTRY, QUESTION, World

# The world is only read: one serves all examples.
quietly = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
places = st.tuples(st.integers(0, 1 << 20), st.integers(0, 7))


def flipped(data: bytes, place: tuple[int, int]) -> bytes:
    """One bit of it is another one."""
    where, bit = place[0] % len(data), place[1]
    return data[:where] + bytes([data[where] ^ 1 << bit]) + data[where + 1 :]


def refusal(world: World, signed: SignedEntry) -> RejectionReason:
    with pytest.raises(RejectedStatement) as caught:
        verify(signed, world.store, QUESTION)
    return caught.value.reason


@quietly
@given(places)
def test_a_flipped_bit_of_the_payload(world: World, place: tuple[int, int]) -> None:
    signed = world.signed()
    changed = b64encode(flipped(b64decode(signed.payload), place)).decode()
    assert refusal(world, signed.model_copy(update={"payload": changed})) is RejectionReason.BAD_SIGNATURE


@quietly
@given(places)
def test_a_flipped_bit_of_the_signature(world: World, place: tuple[int, int]) -> None:
    signed = world.signed()
    changed = b64encode(flipped(b64decode(signed.signatures[0].sig), place)).decode()
    signature = signed.signatures[0].model_copy(update={"sig": changed})
    assert refusal(world, signed.model_copy(update={"signatures": (signature,)})) is RejectionReason.BAD_SIGNATURE


@quietly
@given(places)
def test_a_flipped_bit_of_the_key(world: World, place: tuple[int, int]) -> None:
    """A key with one bit flipped is another key, which signed nothing."""
    own = world.key().public
    other = PublicKey(flipped(own.raw, place))
    world.store.trust(TrustedKey(other))
    signed = world.signed()
    claimed = signed.signatures[0].model_copy(update={"keyid": other.id})
    assert refusal(world, signed.model_copy(update={"signatures": (claimed,)})) is RejectionReason.BAD_SIGNATURE


@quietly
@given(places)
def test_a_flipped_bit_of_the_key_id(world: World, place: tuple[int, int]) -> None:
    signed = world.signed()
    changed = flipped(bytes.fromhex(signed.signatures[0].keyid), place).hex()
    claimed = signed.signatures[0].model_copy(update={"keyid": changed})
    assert refusal(world, signed.model_copy(update={"signatures": (claimed,)})) is RejectionReason.UNKNOWN_KEY


@quietly
@given(places)
def test_a_flipped_bit_of_the_envelope(world: World, place: tuple[int, int]) -> None:
    """Of the text as it travels: it cannot be read, or is refused; nothing else is ever taken for what was signed."""
    text = world.signed().model_dump_json().encode()
    with pytest.raises(RejectedStatement):
        verify(parse_envelope(flipped(text, place)), world.store, QUESTION)


@quietly
@given(st.integers(0, 2000))
def test_a_cut_envelope(world: World, length: int) -> None:
    text = world.signed().model_dump_json().encode()
    with pytest.raises(RejectedStatement):
        verify(parse_envelope(text[: min(length, len(text) - 1)]), world.store, QUESTION)


@quietly
@given(st.binary(max_size=400))
def test_noise_is_refused(noise: bytes) -> None:
    with pytest.raises(RejectedStatement):
        parse_envelope(noise)


def test_what_does_not_end_is_refused_before_it_is_read() -> None:
    with pytest.raises(RejectedStatement) as caught:
        parse_envelope(b'{"payload": "' + b"A" * 100_000)
    assert caught.value.reason is RejectionReason.TOO_LARGE


def test_another_spelling_of_the_same_bytes_is_refused(world: World) -> None:
    """The last characters of base64 have bits that mean nothing."""
    signed = world.signed()
    sig = signed.signatures[0].sig
    assert sig.endswith("==")
    other = sig[:-3] + chr(ord(sig[-3]) + 1) + "=="
    assert b64decode(other) == b64decode(sig)
    signature = signed.signatures[0].model_copy(update={"sig": other})
    assert refusal(world, signed.model_copy(update={"signatures": (signature,)})) is RejectionReason.MALFORMED


@pytest.mark.parametrize("text", ["[]", "null", '{"payload": 1}', '{"payload": "", "payloadType": "x"}', "{" * 1000])
def test_other_documents_are_malformed(text: str) -> None:
    with pytest.raises(RejectedStatement) as caught:
        parse_envelope(text)
    assert caught.value.reason is RejectionReason.MALFORMED


def test_what_strangers_write_is_not_repeated_in_words(world: World) -> None:
    with pytest.raises(RejectedStatement) as caught:
        parse_envelope(world.signed(ENTRY).model_dump_json().replace('"keyid":"', '"keyid":"\\u001b[31msecret'))
    assert "secret" not in str(caught.value)
