"""What is refused, and with which words. Each row changes one thing of an entry that is taken."""

from base64 import b64decode, b64encode
from dataclasses import replace
from typing import Any

import pytest

from slap.cache.trust.cache_key import CacheKey
from slap.cache.trust.envelope import pae, sign_statement
from slap.cache.trust.errors import RejectedStatement, RejectionReason
from slap.cache.trust.sign import renew_entry, sign_entry
from slap.cache.trust.store import RevokedKey
from slap.cache.trust.verify import MAX_LIFETIME_SECONDS, verify
from slap.model.cache import ENTRY_TYPE, REVOCATION_TYPE, Entry, EntryKind, SignedEntry
from tests.unit.cache.trust_world import DAY, ENTRY, NOW, QUESTION, URL, World, blob, entry, on


def refused(world: World, signed: SignedEntry, cache_key: CacheKey = QUESTION) -> RejectedStatement:
    with pytest.raises(RejectedStatement) as caught:
        verify(signed, world.store, cache_key)
    return caught.value


def test_what_a_trusted_key_signed_for_this_node_is_taken(world: World) -> None:
    found = verify(world.signed(), world.store, QUESTION)
    assert (found.entry, found.key, found.key.comment) == (ENTRY, world.key().public, "builder")


def test_it_survives_the_way_over_the_network(world: World) -> None:
    travelled = SignedEntry.model_validate_json(world.signed().model_dump_json())
    assert verify(travelled, world.store, QUESTION).entry == ENTRY


@pytest.mark.parametrize(
    ("signed", "reason", "words"),
    [
        (entry(key="https://example.com/other/software.cfg"), RejectionReason.OTHER_KEY, "of another release"),
        (entry(kind=EntryKind.PART), RejectionReason.OTHER_KIND, "of another kind"),
        (entry(root="/srv/other"), RejectionReason.OTHER_ROOT, "for another software root"),
        (entry(folder="0" * 32), RejectionReason.OTHER_ROOT, "for another folder"),
        (on(machine="aarch64"), RejectionReason.OTHER_MACHINE, "for another architecture"),
        (on(os="fedora"), RejectionReason.OTHER_OS, "for another operating system"),
        (on(version="13"), RejectionReason.OTHER_OS, "for another version of the system"),
        (on(libc="glibc 2.41"), RejectionReason.OTHER_LIBC, "for another libc"),
        (on(libc="musl 1.2"), RejectionReason.OTHER_LIBC, "for another libc"),
        (on(python="cpython-313 /usr/bin/python3.13"), RejectionReason.OTHER_PYTHON, "for another Python"),
        (entry(expires_at=NOW), RejectionReason.EXPIRED, "expired on"),
        (entry(expires_at=NOW - DAY), RejectionReason.EXPIRED, "expired on"),
        (entry(version=NOW + DAY), RejectionReason.FROM_THE_FUTURE, "in the future"),
        (entry(built_at=NOW + DAY), RejectionReason.FROM_THE_FUTURE, "in the future"),
        # However long its signer wants it to be good for.
        (entry(version=NOW - MAX_LIFETIME_SECONDS, expires_at=NOW + 9999 * DAY), RejectionReason.EXPIRED, "expired on"),
    ],
)
def test_what_is_not_the_answer_is_refused(world: World, signed: Entry, reason: RejectionReason, words: str) -> None:
    found = refused(world, world.signed(signed))
    assert (found.reason, words in found.brief) == (reason, True)


def test_a_clock_may_be_a_little_behind(world: World) -> None:
    assert verify(world.signed(entry(version=NOW + 60)), world.store, QUESTION)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"payload_type": REVOCATION_TYPE}, RejectionReason.WRONG_TYPE),
        ({"payload_type": ""}, RejectionReason.WRONG_TYPE),
        ({"payload": ""}, RejectionReason.BAD_SIGNATURE),
        ({"payload": "not base64"}, RejectionReason.MALFORMED),
        ({"signatures": ()}, RejectionReason.UNSIGNED),
    ],
)
def test_a_changed_envelope_is_refused(world: World, changes: dict[str, Any], reason: RejectionReason) -> None:
    assert refused(world, world.signed().model_copy(update=changes)).reason is reason


def test_an_unknown_key_is_refused_by_its_id(world: World) -> None:
    found = refused(world, world.signed(ENTRY, "stranger"))
    assert found.reason is RejectionReason.UNKNOWN_KEY
    assert world.key("stranger").public.id[:16] in found.brief
    assert "slapos cache trust" in found.resolution


def test_a_revoked_key_is_refused_whenever_it_signed(world: World) -> None:
    world.store.revoke(RevokedKey(world.key().public.id, NOW, "laptop stolen"))
    found = refused(world, world.signed(entry(version=NOW - 30 * DAY)))
    assert (found.reason, found.details) == (RejectionReason.REVOKED_KEY, "laptop stolen")


def test_a_key_is_refused_in_the_name_of_another(world: World) -> None:
    """The id in a signature is a claim: what counts is whose key fits."""
    signed = world.signed(ENTRY, "stranger")
    claimed = signed.signatures[0].model_copy(update={"keyid": world.key().public.id})
    assert refused(world, signed.model_copy(update={"signatures": (claimed,)})).reason is RejectionReason.BAD_SIGNATURE


def test_a_signature_of_another_type_of_statement_does_not_fit(world: World) -> None:
    signed = sign_statement(REVOCATION_TYPE, ENTRY, world.key())
    passed_off = signed.model_copy(update={"payload_type": ENTRY_TYPE})
    assert refused(world, passed_off).reason is RejectionReason.BAD_SIGNATURE


def test_a_signature_over_the_payload_alone_does_not_fit(world: World) -> None:
    """Nor one by an older scheme, such as of a key that signs plain files."""

    signed = world.signed()
    plain = b64encode(world.key().sign(b64decode(signed.payload))).decode()
    forged = signed.signatures[0].model_copy(update={"sig": plain})
    assert refused(world, signed.model_copy(update={"signatures": (forged,)})).reason is RejectionReason.BAD_SIGNATURE


def test_the_encoding_that_is_signed_is_that_of_dsse() -> None:
    assert pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


class TestSeveralSignatures:
    def test_one_trusted_signer_is_enough(self, world: World) -> None:
        found = verify(world.signed(ENTRY, "stranger", "builder"), world.store, QUESTION)
        assert found.key == world.key().public

    def test_none_of_many_counts(self, world: World) -> None:
        found = refused(world, world.signed(ENTRY, "stranger", "other"))
        assert found.reason is RejectionReason.UNKNOWN_KEY

    def test_of_two_objections_the_one_about_a_known_key_is_told(self, world: World) -> None:
        world.store.revoke(RevokedKey(world.key().public.id, NOW))
        assert refused(world, world.signed(ENTRY, "stranger", "builder")).reason is RejectionReason.REVOKED_KEY

    def test_a_revoked_signer_does_not_spoil_the_word_of_another(self, world: World) -> None:
        world.trust("second")
        world.store.revoke(RevokedKey(world.key().public.id, NOW))
        signed = world.signed(ENTRY, "builder", "second")
        assert verify(signed, world.store, QUESTION).key == world.key("second").public

    def test_one_key_signs_once(self, world: World) -> None:
        signed = world.signed()
        twice = signed.model_copy(update={"signatures": signed.signatures * 2})
        assert refused(world, twice).reason is RejectionReason.MALFORMED

    def test_there_is_an_end_to_them(self, world: World) -> None:
        signed = world.signed()
        many = tuple(signed.signatures[0].model_copy(update={"keyid": f"{n:064x}"}) for n in range(9))
        assert refused(world, signed.model_copy(update={"signatures": many})).reason is RejectionReason.TOO_LARGE


class TestLimits:
    @pytest.mark.parametrize(
        "url",
        [
            "https://example.com/software/redis",
            "https://example.com/software/redis/",
            "https://example.com/software",
            URL,
        ],
    )
    def test_below_its_urls_a_key_may_sign(self, world: World, url: str) -> None:
        world.trust(urls=("https://elsewhere.example/", url))
        assert verify(world.signed(), world.store, QUESTION)

    @pytest.mark.parametrize(
        ("limit", "key"),
        [
            ("https://example.com/other", URL),
            ("https://example.com/soft", URL),
            ("https://example.co", URL),
            ("https://example.com", "https://example.com.evil.example/software.cfg"),
            ("https://example.com/a", "https://example.com/a/../b/software.cfg"),
            ("https://example.com/a", "https://example.com/a/%2e%2e/b/software.cfg"),
            ("https://example.com/a", "https://example.com/a/%2E./b/software.cfg"),
        ],
    )
    def test_elsewhere_it_may_not(self, world: World, limit: str, key: str) -> None:
        world.trust(urls=(limit,))
        cache_key = replace(QUESTION, key=key)
        found = refused(world, world.signed(entry(key=key, folder=cache_key.name)), cache_key)
        assert (found.reason, limit in found.details) == (RejectionReason.LIMITED_KEY, True)

    def test_a_limited_key_signs_no_shared_parts(self, world: World) -> None:
        """They get into releases of others."""
        world.trust(urls=("https://example.com/",))
        part = entry(kind=EntryKind.PART, key="0" * 64, folder="zlib")
        cache_key = CacheKey("0" * 64, QUESTION.root, QUESTION.platform, NOW, EntryKind.PART, "zlib")
        assert refused(world, world.signed(part), cache_key).reason is RejectionReason.LIMITED_KEY
        world.trust()
        assert verify(world.signed(part), world.store, cache_key).entry == part


class TestWhatWasSeen:
    def test_the_same_again_is_taken(self, world: World) -> None:
        assert world.take(world.signed()) == world.take(world.signed())

    def test_a_newer_one_is_taken_and_the_older_one_then_refused(self, world: World) -> None:
        older, newer = world.signed(), world.signed(renew_entry(ENTRY, NOW))
        world.take(older)
        world.take(newer)
        found = refused(world, older)
        assert (found.reason, "older than one that was seen" in found.brief) == (RejectionReason.ROLLBACK, True)

    def test_it_is_remembered_over_a_restart(self, world: World) -> None:
        world.take(world.signed(renew_entry(ENTRY, NOW)))
        world.store.close()
        again = World(world.folder, world.keys)
        assert refused(again, world.signed()).reason is RejectionReason.ROLLBACK
        again.store.close()

    def test_two_entries_of_one_version_are_not_taken(self, world: World) -> None:
        world.take(world.signed())
        assert refused(world, world.signed(entry(manifest=blob(b"another")))).reason is RejectionReason.TWO_FACED

    def test_verifying_alone_changes_nothing(self, world: World) -> None:
        verify(world.signed(renew_entry(ENTRY, NOW)), world.store, QUESTION)
        assert verify(world.signed(), world.store, QUESTION)

    @pytest.mark.parametrize(
        "other",
        [
            replace(QUESTION, root="/srv/other"),
            replace(QUESTION, platform=QUESTION.platform.model_copy(update={"machine": "aarch64"})),
            replace(QUESTION, key="https://example.com/other/software.cfg"),
        ],
    )
    def test_each_question_has_its_own_memory(self, world: World, other: CacheKey) -> None:
        world.take(world.signed(renew_entry(ENTRY, NOW)))
        answer = entry(root=other.root, platform=other.platform, key=other.key, folder=other.name)
        assert verify(world.signed(answer), world.store, other)

    def test_each_signer_has_its_own_versions(self, world: World) -> None:
        world.trust("second")
        world.take(world.signed(renew_entry(ENTRY, NOW)))
        assert verify(world.signed(ENTRY, "second"), world.store, QUESTION)

    def test_adding_a_signature_of_another_does_not_lead_back(self, world: World) -> None:
        """Each signer is held to what itself said."""
        world.take(world.signed(renew_entry(ENTRY, NOW)))
        assert refused(world, world.signed(ENTRY, "stranger", "builder")).reason is RejectionReason.ROLLBACK


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{}",
        b"[" * 10_000,
        b"\xff\xfe",
        b'{"format": 2}',
        ENTRY.model_copy(update={"format": 2}).model_dump_json(warnings=False).encode(),
        ENTRY.model_dump_json()[:-1].encode() + b', "more": 1}',
        ENTRY.model_dump_json().replace('"root":"/opt', '"root":"opt').encode(),
        ENTRY.model_dump_json().replace(ENTRY.folder, "../../etc").encode(),
        ENTRY.model_dump_json().replace('"size":1000', '"size":-1').encode(),
        ENTRY.model_dump_json().replace('"size":1000', '"size":1e400').encode(),
        ENTRY.model_dump_json().replace("builder-1", "builder\\u001b[2J").encode(),
    ],
)
def test_nonsense_is_refused_even_when_a_trusted_key_signed_it(world: World, payload: bytes) -> None:

    signature = b64encode(world.key().sign(pae(ENTRY_TYPE, payload))).decode()
    signed = world.signed()
    nonsense = signed.signatures[0].model_copy(update={"sig": signature})
    changed = signed.model_copy(update={"payload": b64encode(payload).decode(), "signatures": (nonsense,)})
    assert refused(world, changed).reason is RejectionReason.MALFORMED


def test_renewing_makes_a_higher_version(world: World) -> None:
    again = renew_entry(renew_entry(ENTRY, NOW), NOW)
    assert (again.version, again.expires_at) == (NOW + 1, NOW + 90 * DAY)
    assert sign_entry(again, world.key()).signatures
